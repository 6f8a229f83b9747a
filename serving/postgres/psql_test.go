package postgres

import (
	"os/exec"
	"testing"
)

func TestScratch(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []string{"SELECT 1 AS one, 'x' AS t", "SELECT * FROM public.payments LIMIT 2", `\d`, `\d payments`, `\l`} {
		out, err := exec.Command("psql", "-X", r.url(""), "-c", c).CombinedOutput()
		t.Logf("%s: %v\n%s", c, err, out)
	}
}
