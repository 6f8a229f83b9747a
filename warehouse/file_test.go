package warehouse

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tailwater/tailwater/internal/duckdb"
)

func TestTheFileKeepsWhatWasAdvanced(t *testing.T) {
	path, l, plans := filePath(t), newLanded(t), payPlans(t)
	w := open(t, path)
	l.add(first, 0, 10, 3)
	advanceTo(t, w, l.input(plans...))
	check(t, w.Close())
	check(t, w.Close())
	if _, err := w.Advance(t.Context(), nil, false); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("a run on a closed warehouse: %v", err)
	}
	w = open(t, path)
	if why := w.Recreated(); why != "" {
		t.Errorf("made anew: %s", why)
	}
	if s := consistentNow(t, w, l, plans...); s[first] != 10 {
		t.Errorf("S = %s", s)
	}
	if done := advanceTo(t, w, l.input(plans...)); done.Moved {
		t.Error("there was something new after reopening")
	}
}

func TestABrokenFileIsMovedAsideAndMadeAnew(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, path string){
		"no database": func(t *testing.T, path string) {
			check(t, os.WriteFile(path, []byte("this is no database"), 0o644))
		},
		"cut off": func(t *testing.T, path string) { check(t, os.Truncate(path, 5000)) },
		"another format": func(t *testing.T, path string) {
			w := open(t, path)
			conn, err := w.db.Connect()
			check(t, err)
			check(t, conn.Exec(t.Context(), "UPDATE tw.meta SET value = '0' WHERE key = 'format'"))
			check(t, conn.Close())
			check(t, w.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, l, plans := filePath(t), newLanded(t), payPlans(t)
			w := open(t, path)
			l.add(first, 0, 10, 3)
			advanceTo(t, w, l.input(plans...))
			check(t, w.Close())
			harm(t, path)
			harmed, err := os.ReadFile(path)
			check(t, err)
			w = open(t, path)
			if why := w.Recreated(); why == "" || name == "another format" && !strings.Contains(why, "the file has format 0, this program writes 2") {
				t.Errorf("made anew because of %q", why)
			}
			if aside, err := os.ReadFile(path + ".broken"); err != nil || name != "another format" && string(aside) != string(harmed) {
				t.Errorf("%d bytes were moved aside, %v; want the %d of the broken file", len(aside), err, len(harmed))
			}
			if s := consistentNow(t, w, l, plans...); len(s) != 0 {
				t.Errorf("S = %s in a new file", s)
			}
			advanceTo(t, w, l.input(plans...))
			check(t, w.Close())
			w = open(t, path)
			if why := w.Recreated(); why != "" {
				t.Errorf("made anew a second time: %s", why)
			}
			if s := consistentNow(t, w, l, plans...); s[first] != 10 {
				t.Errorf("S = %s after it was filled again", s)
			}
		})
	}
}

// TestADamagedWriteAheadLogNeverTearsSFromTheRows opens copies of a file as a
// kill would leave it, with one byte of its write-ahead log flipped or the log cut
// off: what opens is made anew, or is the result of some run as a whole.
func TestADamagedWriteAheadLogNeverTearsSFromTheRows(t *testing.T) {
	path, l, plans := filePath(t), newLanded(t), payPlans(t)
	w := open(t, path)
	for through := uint64(10); through <= 30; through += 10 {
		l.add(first, 0, through, 3)
		advanceTo(t, w, l.input(plans...))
	}
	file, err := os.ReadFile(path)
	check(t, err)
	log, err := os.ReadFile(path + ".wal")
	check(t, err)
	if len(log) < 1000 {
		t.Fatalf("the write-ahead log has %d bytes: nothing is tested", len(log))
	}
	anew, whole := 0, map[uint64]int{}
	for i := range 12 {
		harmed := bytes.Clone(log)
		if at := len(log) * (2*i + 1) / 24; i%3 == 2 {
			harmed = harmed[:at]
		} else {
			harmed[at] ^= 0x10
		}
		copied := filePath(t)
		check(t, os.MkdirAll(filepath.Dir(copied), 0o755))
		check(t, os.WriteFile(copied, file, 0o644))
		check(t, os.WriteFile(copied+".wal", harmed, 0o644))
		c := open(t, copied)
		if c.Recreated() != "" {
			anew++
		}
		s := consistentNow(t, c, l, plans...)
		if s[first]%10 != 0 || c.Recreated() != "" && len(s) != 0 {
			t.Errorf("S = %s is of no run (made anew: %q)", s, c.Recreated())
		}
		whole[s[first]]++
		advanceTo(t, c, l.input(plans...))
		if s := consistentNow(t, c, l, plans...); s[first] != 30 {
			t.Errorf("S = %s after it was filled again", s)
		}
		check(t, c.Close())
	}
	t.Logf("%d made anew; S by how often: %v", anew, whole)
}

func TestRecreateEmptiesAnOpenWarehouse(t *testing.T) {
	for _, path := range []string{"", filePath(t)} {
		w, l, plans := open(t, path), newLanded(t), payPlans(t)
		l.add(first, 0, 10, 3)
		advanceTo(t, w, l.input(plans...))
		check(t, w.Recreate(t.Context()))
		if s := consistentNow(t, w, l, plans...); len(s) != 0 {
			t.Errorf("S = %s", s)
		}
		if origins, err := w.Origins(t.Context()); err != nil || len(origins) != 0 {
			t.Errorf("origins %v, %v", origins, err)
		}
		advanceTo(t, w, l.input(plans...))
		consistentNow(t, w, l, plans...)
	}
}

// refused checks that the file cannot be opened and stays where it is.
func refused(t *testing.T, path string) {
	t.Helper()
	before, err := os.Stat(path)
	check(t, err)
	w, err := Open(t.Context(), Config{Path: path})
	if err == nil {
		w.Close()
		t.Fatal("a file in use was opened")
	}
	if !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), "--data") {
		t.Errorf("got %v, want what to do about it", err)
	}
	after, err := os.Stat(path)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the file was moved: %v", err)
	}
	if _, err := os.Stat(path + ".broken"); !os.IsNotExist(err) {
		t.Errorf("a file was moved aside: %v", err)
	}
}

func TestAFileInUseIsRefusedAndNotMoved(t *testing.T) {
	path, l, plans := filePath(t), newLanded(t), payPlans(t)
	w := open(t, path)
	refused(t, path)
	l.add(first, 0, 10, 3)
	advanceTo(t, w, l.input(plans...))
	consistentNow(t, w, l, plans...)
}

func TestAFileOfAnotherProcessIsRefusedAndNotMoved(t *testing.T) {
	path := filePath(t)
	check(t, open(t, path).Close())
	holder := exec.CommandContext(t.Context(), os.Args[0])
	holder.Env = append(os.Environ(), holdFile+"="+path)
	holder.Stderr = os.Stderr
	end, err := holder.StdinPipe()
	check(t, err)
	out, err := holder.StdoutPipe()
	check(t, err)
	check(t, holder.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	refused(t, path)
	check(t, end.Close())
	check(t, holder.Wait())
	if why := open(t, path).Recreated(); why != "" {
		t.Errorf("made anew after the other process ended: %s", why)
	}
}

// hold is the other process.
func hold(path string) int {
	w, err := Open(context.Background(), Config{Path: path})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("held")
	_, _ = io.Copy(io.Discard, os.Stdin) // ends with the parent's pipe
	if err := w.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func TestAnEndedContextOpensNothingAndMovesNothing(t *testing.T) {
	path := filePath(t)
	check(t, open(t, path).Close())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, Config{Path: path}); err == nil {
		t.Error("opened under an ended context")
	}
	if _, err := os.Stat(path + ".broken"); !os.IsNotExist(err) {
		t.Errorf("a file was moved aside: %v", err)
	}
}

// The engine unpacks 128-bit numbers one by one, at 300 ns each: a scan of a view's
// sums would take fifty times as long.
func TestWideNumbersAreStoredAsTheyAre(t *testing.T) {
	w, l, plans := open(t, filepath.Join(t.TempDir(), "warehouse.duckdb")), newLanded(t), payPlans(t)
	l.add(first, 0, 500, 10)
	advanceTo(t, w, l.input(plans...))
	conn, err := w.DB().Connect()
	check(t, err)
	defer conn.Close()
	check(t, conn.Exec(t.Context(), "CHECKPOINT"))
	rel, err := conn.Collect(t.Context(), "SELECT count(*), count(*) FILTER (compression <> 'Uncompressed') FROM pragma_storage_info("+
		duckdb.Literal(partialsTable(plans[0]))+") WHERE column_name = 's1' AND segment_type <> 'VALIDITY'")
	check(t, err)
	if stored, packed := int64At(rel, 0, 0), int64At(rel, 1, 0); stored == 0 || packed > 0 {
		t.Errorf("of %d segments of a sum, %d are packed", stored, packed)
	}
}
