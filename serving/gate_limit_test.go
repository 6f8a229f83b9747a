package serving

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A plain LIMIT of many rows reads the table once, in its order, and gives as many rows
// as it says.
func TestLongLimitReadsTheTableOnce(t *testing.T) {
	r := newRig(t)
	r.send(12_000)
	r.land()
	r.batch()
	all := strings.SplitAfter(r.ask("SELECT _seq, k, n FROM pay"), "\n")
	for _, limit := range []int{9_999, 10_001, 11_999, 12_000, 12_001, 2_000_000} {
		sql := fmt.Sprintf("SELECT _seq, k, n FROM pay LIMIT %d", limit)
		if plan := r.ask("EXPLAIN " + sql); limit > maxBatchLimit && strings.Contains(plan, "JOIN") {
			t.Errorf("%s joins:\n%s", sql, plan)
		}
		want := strings.Join(all[:min(limit, 12_000)], "")
		if got := r.ask(sql); got != want {
			t.Errorf("%s gives %d rows", sql, strings.Count(got, "\n"))
		}
		if got := r.ask(fmt.Sprintf("(SELECT _seq, k, n FROM pay UNION ALL SELECT 0, '', 0) LIMIT %d OFFSET 1", limit)); limit < 12_000 && got != strings.Join(all[1:limit+1], "") {
			t.Errorf("LIMIT %d OFFSET 1 of a union gives %d rows", limit, strings.Count(got, "\n"))
		}
	}
	sorted := r.ask("SELECT n FROM pay ORDER BY n, _seq LIMIT 11000")
	if got := r.ask("SELECT n FROM (SELECT n, _seq FROM pay ORDER BY n, _seq LIMIT 11000) ORDER BY n, _seq"); got != sorted {
		t.Error("a sorted statement with a long LIMIT gives other rows")
	}
	got, err := textOf(r.SQL(t.Context(), SQLRequest{SQL: "SELECT n FROM pay LIMIT $1", Parameters: []Parameter{{Name: "1", Value: int64(11_000)}}, Timeout: time.Minute}))
	must(t, err)
	if n := strings.Count(got, "\n"); n != 11_000 {
		t.Errorf("LIMIT $1 of 11000 gives %d rows", n)
	}
}
