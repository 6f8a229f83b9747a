package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"
)

// fireSQL are statements that say the same more than once: columns that begin with
// n are all the number of events, those that begin with total are all their sum,
// and torn counts what contradicts itself.
var fireSQL = map[string]string{
	// A view beside the stream that it is of, beside other views.
	"joined": `SELECT sum(v.n) AS n, sum(e.n) AS n_stream, 7 * min(least(v.n, e.n)) AS n_least, 7 * max(greatest(v.n, e.n)) AS n_most,
  (SELECT n FROM overall) AS n_overall, (SELECT sum(n) FROM hours) AS n_hours,
  sum(v.total) AS total, sum(e.total) AS total_stream, (SELECT total FROM overall) AS total_overall, (SELECT sum(total) FROM hours) AS total_hours,
  count(*) FILTER (WHERE v.total IS DISTINCT FROM e.total) AS torn
FROM tally AS v FULL JOIN (SELECT merchant, count(*) AS n, sum(amount) AS total FROM payments GROUP BY merchant) AS e USING (merchant)`,
	// The raw events: each request whole, each event once.
	"raw": `SELECT sum(n) AS n, sum(ids) AS n_ids, 7 * count(*) AS n_requests, sum(total) AS total, count(*) FILTER (WHERE n <> 7 OR total <> 100) AS torn
FROM (SELECT request, count(*) AS n, count(DISTINCT id) AS ids, sum(amount) AS total FROM payments GROUP BY request) AS r`,
	// Every event beside its row of a view.
	"rows": `SELECT count(*) AS n, 7 * min(v.n) AS n_least, 7 * max(v.n) AS n_most, sum(p.amount) AS total FROM payments AS p JOIN tally AS v USING (merchant)`,
	// Views alone.
	"views": `SELECT sum(h.n) AS n, sum(t.n) AS n_tally, sum(h.total) AS total, sum(t.total) AS total_tally, count(*) FILTER (WHERE h.n <> t.n) AS torn
FROM (SELECT merchant, sum(n) AS n, sum(total) AS total FROM hours GROUP BY merchant) AS h FULL JOIN tally AS t USING (merchant)`,
}

// fireViews are the views that are asked for by name, each row a part of the total.
var fireViews = []string{"tally", "hours", "overall"}

// A tornError is an answer that contradicts itself.
type tornError struct{ message string }

func (e *tornError) Error() string { return e.message }

// A fireReader asks its questions in turn, over one connection.
type fireReader struct {
	asker     asker
	questions []string
}

// An asker puts questions to the process in one protocol.
type asker interface {
	protocol() string
	// waits reports whether the protocol can ask for a position.
	waits() bool
	// ask gives the rows of a statement of fireSQL or a view of fireViews, each
	// value as text. With after, the answer must cover that position.
	ask(ctx context.Context, f *fire, p *process, question, after string) ([]map[string]string, error)
}

// fireReaders are few: what they leave of the processors has to do for the cuts to
// move.
func fireReaders() []fireReader {
	all := append(slices.Sorted(maps.Keys(fireSQL)), fireViews...)
	http := func(questions ...string) fireReader { return fireReader{&httpAsker{}, questions} }
	postgres := func(questions ...string) fireReader { return fireReader{&postgresAsker{}, questions} }
	return []fireReader{http(all...), http("joined", "tally"), http("raw", "rows", "hours"), postgres(append(all, "block")...), postgres("block", "joined")}
}

// read asks until stop; every other question must cover what is acknowledged.
func (r fireReader) read(ctx context.Context, stop <-chan struct{}, f *fire) {
	pace := time.NewTicker(30 * time.Millisecond)
	defer pace.Stop()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-ctx.Done():
			return
		case <-pace.C:
			r.once(ctx, f, r.questions[n%len(r.questions)], n/len(r.questions)%2 == 1)
		}
	}
}

// once asks one question and has the answer judged.
func (r fireReader) once(ctx context.Context, f *fire, question string, after bool) {
	b := f.asking(after && r.asker.waits())
	rows, err := r.asker.ask(ctx, f, b.p, question, b.after)
	var got total
	if err == nil {
		got, err = totalOf(rows)
	}
	if ctx.Err() != nil {
		return
	}
	f.answered(b, r.asker.protocol()+" "+question, got, err)
}

// totalOf adds the rows up, each of which must agree with itself.
func totalOf(rows []map[string]string) (sum total, err error) {
	for _, row := range rows {
		cents := map[string]int64{}
		for name, text := range row {
			if name == "merchant" || strings.HasPrefix(name, "window_") {
				continue
			}
			// Aggregates over nothing are NULL, which reads as 0 here.
			value, ok := new(big.Rat).SetString(text)
			if value == nil || !ok {
				if text != "" {
					return sum, fmt.Errorf("%s is %q", name, text)
				}
				value = new(big.Rat)
			}
			if strings.HasPrefix(name, "total") {
				value.Mul(value, big.NewRat(100, 1))
			}
			if !value.IsInt() || !value.Num().IsInt64() {
				return sum, fmt.Errorf("%s is %q", name, text)
			}
			cents[name] = value.Num().Int64()
		}
		for name, v := range cents {
			if name == "torn" && v != 0 || strings.HasPrefix(name, "n") && v != cents["n"] || strings.HasPrefix(name, "total") && v != cents["total"] {
				return sum, &tornError{fmt.Sprintf("torn: %v", row)}
			}
		}
		sum.events += cents["n"]
		sum.cents += cents["total"]
	}
	return sum, nil
}

// An httpAsker asks by POST /v1/sql and GET /v1/views.
type httpAsker struct{}

func (*httpAsker) protocol() string { return "http" }
func (*httpAsker) waits() bool      { return true }

func (*httpAsker) ask(ctx context.Context, f *fire, p *process, question, after string) ([]map[string]string, error) {
	method, url, body := http.MethodGet, p.url+"/v1/views/"+question+"?after="+after, []byte(nil)
	if sql := fireSQL[question]; sql != "" {
		var err error
		if body, err = json.Marshal(map[string]string{"sql": sql, "after": after}); err != nil {
			return nil, err
		}
		method, url = http.MethodPost, p.url+"/v1/sql"
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", resp.Status, text)
	}
	var answer answered
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&answer); err != nil {
		return nil, err
	}
	if !answer.Complete {
		return nil, &tornError{"incomplete: " + string(text)}
	}
	f.at(fmt.Sprint(answer.Cut))
	rows := make([]map[string]string, len(answer.Data))
	for i, row := range answer.Data {
		rows[i] = map[string]string{}
		for name, v := range row {
			if v != nil {
				rows[i][name] = fmt.Sprint(v)
			} else {
				rows[i][name] = ""
			}
		}
	}
	if len(rows) != answer.Rows {
		return nil, errors.New("rows were lost on the way")
	}
	return rows, nil
}
