package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestABrokenOrForeignWarehouseIsMadeAnew(t *testing.T) {
	other := t.TempDir()
	p := startReady(t, worldFolder(t), other, nil, quiet...)
	p.mustPost("payments", payments("other", 500))
	p.batch("")
	p.stop()

	project, data := worldFolder(t), t.TempDir()
	warehouse := filepath.Join("warehouse", "warehouse.duckdb")
	p = startReady(t, project, data, nil, quiet...)
	p.mustPost("payments", payments("a", 100)+"broken\n"+payment("bad", 1, "acme", 100, "none"))
	p.batch("")
	p.mustPost("payments", payments("b", 50))
	p.caughtUp()
	const question = "/v1/views/hourly?order=window_start,merchant"
	want := p.mustGet(question, "")
	p.stop()
	for _, c := range []struct {
		name string
		harm func(path string) error
	}{
		{"garbage", func(path string) error { return os.WriteFile(path, []byte("this is no database"), 0o644) }},
		{"gone", os.Remove},
		{"of no length", func(path string) error { return os.Truncate(path, 0) }},
		{"half of it", func(path string) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			return os.Truncate(path, info.Size()/2)
		}},
		{"of another lake", func(path string) error {
			text, err := os.ReadFile(filepath.Join(other, warehouse))
			if err != nil {
				return err
			}
			return os.WriteFile(path, text, 0o644)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.harm(filepath.Join(data, warehouse)); err != nil {
				t.Fatal(err)
			}
			p := startReady(t, project, data, nil, quiet...)
			got := p.mustGet(question, "")
			if fmt.Sprint(got.Data) != fmt.Sprint(want.Data) {
				t.Errorf("got %v, want %v", got.Data, want.Data)
			}
			for view := range worldViews {
				if d, text := p.difference(view); d != 0 {
					t.Errorf("difference of %s: %s", view, text)
				}
			}
			if n, dead, failed := p.count("payments"), p.count("payments_dead"), p.count("tailwater.view_errors"); n != "151" || dead != "1" || failed != "1" {
				t.Errorf("%s events, %s dead letters, %s view errors", n, dead, failed)
			}
			p.batch("")
			if s := p.state(); s.Batched != s.Head {
				t.Errorf("after a batch run: %+v", s)
			}
			p.stop()
		})
	}
}

// blockSize and firstBlock are those of a DuckDB file: three headers of 4 KiB,
// then blocks of 256 KiB, each with a checksum.
const (
	blockSize  = 256 << 10
	firstBlock = 3 * 4096
)

// A disk gives back another byte than was written, somewhere: the warehouse is a
// cache, so nobody may notice more than a delay.
func TestADamagedBlockOfTheWarehouseCostsNoAnswer(t *testing.T) {
	project, data := worldFolder(t), t.TempDir()
	path := filepath.Join(data, "warehouse", "warehouse.duckdb")
	p := startReady(t, project, data, nil, quiet...)
	for i := range 4 {
		p.mustPost("payments", payments(fmt.Sprint("a", i, "-"), 6000))
	}
	p.batch("")
	p.stop()
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(sound) < firstBlock+3*blockSize {
		t.Fatalf("a warehouse of %d bytes shows nothing", len(sound))
	}
	const question = "SELECT count(*) AS n, count(DISTINCT id) AS ids, sum(amount) AS total, (SELECT sum(n) FROM hourly) AS hourly FROM payments"
	for at := firstBlock; at+blockSize <= len(sound); at += blockSize {
		t.Run(fmt.Sprintf("block %d", at/blockSize), func(t *testing.T) {
			damaged := bytes.Clone(sound)
			for i := at + 100; i < at+600; i++ {
				damaged[i] ^= 0xff
			}
			if err := os.RemoveAll(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
			putFile(t, path, string(damaged))
			p := startReady(t, project, data, nil, quiet...)
			var r reply
			p.eventually("a right answer", 3*time.Second, func() bool {
				r = p.call(http.MethodPost, "/v1/sql", strings.NewReader(question), "Content-Type", "text/plain")
				if r.status == http.StatusBadRequest {
					t.Fatalf("the client is blamed: %s", r.body)
				}
				return r.status == http.StatusOK
			})
			if row := mustDecode[answered](t, r.body).Data[0]; fmt.Sprint(row["n"]) != "24000" || fmt.Sprint(row["ids"]) != "24000" || fmt.Sprint(row["hourly"]) != "24000" {
				t.Errorf("%v, sent were 24000", row)
			}
			p.stop()
		})
	}
}
