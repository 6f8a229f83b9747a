package serving

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tailwater/tailwater/internal/duckdb"
	"github.com/tailwater/tailwater/serving/gatecorpus"
)

const secret = "the-content-of-a-file"

// The whole corpus, as a client sends it, against a core over its layers. The
// working directory has the files that attacks name.
func TestTheCorpusIsRefusedOverHTTPAndChangesNothing(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"x.csv", "data.csv", "file.csv", "f.csv", "deep.csv", "x.json", "a.json", "tailwater.yaml"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("a,b\n"+secret+",1\n"), 0o600))
	}
	t.Chdir(dir)
	t.Setenv("HOME", secret)
	r := newRig(t)
	r.send(50)
	r.land()
	r.batch()
	server := httptest.NewServer(NewHandler(r.Core, Config{MaxTimeout: time.Minute}))
	t.Cleanup(server.Close)
	t.Cleanup(server.Client().CloseIdleConnections)
	before := everything(t, r, dir)

	list := gatecorpus.Refused()
	for _, s := range list {
		sql := strings.NewReplacer("payments", "pay", "orders", "ranked", "daily", "hourly").Replace(s.SQL)
		response, err := server.Client().Post(server.URL+"/v1/sql", "text/plain", strings.NewReader(sql))
		must(t, err)
		body, err := io.ReadAll(response.Body)
		must(t, err)
		response.Body.Close()
		if response.StatusCode < 400 || response.StatusCode > 499 {
			t.Errorf("%s\n\tanswers %d %.200s", s.SQL, response.StatusCode, body)
		}
		if bytes.Contains(body, []byte(secret)) {
			t.Errorf("%s\n\tshows %.300s", s.SQL, body)
		}
	}
	if after := everything(t, r, dir); after != before {
		t.Errorf("after the corpus there is\n%s\nand there was\n%s", after, before)
	}
	if code, body := post(t, server, "SELECT count(*) AS n FROM pay"); code != http.StatusOK || !strings.Contains(body, "50") {
		t.Errorf("a statement after the corpus: %d %s", code, body)
	}
}

func post(t *testing.T, server *httptest.Server, sql string) (int, string) {
	t.Helper()
	response, err := server.Client().Post(server.URL+"/v1/sql", "text/plain", strings.NewReader(sql))
	must(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	return response.StatusCode, string(body)
}

// everything tells what an attack could have changed: the files, and both
// engines' settings, tables, macros, types, sequences, databases and secrets.
func everything(t *testing.T, r *rig, dir string) string {
	t.Helper()
	var sb strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		info, _ := d.Info()
		fmt.Fprintf(&sb, "%s %s %v %q\n", path, info.Mode(), info.ModTime(), content)
		return err
	}))
	tx, err := r.Core.warehouse.Begin(context.Background())
	must(t, err)
	defer tx.Close()
	gate, err := r.Core.gateDB.Connect()
	must(t, err)
	defer gate.Close()
	for _, c := range []*duckdb.Conn{tx.Conn, gate} {
		for _, sql := range []string{
			"SELECT name, value FROM duckdb_settings() ORDER BY ALL",
			"SELECT database_name, schema_name, table_name, sql, estimated_size::VARCHAR FROM duckdb_tables() ORDER BY ALL",
			"SELECT database_name, schema_name, view_name, sql FROM duckdb_views() WHERE NOT internal ORDER BY ALL",
			"SELECT function_name, function_type, count(*)::VARCHAR FROM duckdb_functions() GROUP BY ALL ORDER BY ALL",
			"SELECT database_name, path FROM duckdb_databases() ORDER BY ALL",
			"SELECT sequence_name FROM duckdb_sequences() ORDER BY ALL",
			"SELECT name FROM duckdb_variables() ORDER BY ALL",
			"SELECT type_name FROM duckdb_types() ORDER BY ALL",
			"SELECT schema_name FROM duckdb_schemas() ORDER BY ALL",
		} {
			text, err := sortedText(t, c, sql)
			must(t, err)
			sb.WriteString(text + "\n")
		}
	}
	return sb.String()
}
