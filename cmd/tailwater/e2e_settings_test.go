package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAFlagBeatsTheEnvironmentAndThatTheFile(t *testing.T) {
	project := worldFolder(t)
	putFile(t, filepath.Join(project, "tailwater.yaml"), "max-body: 1KB\nquery-max-rows: 10\nquery-timeout: 200ms\nlog-level: error\n")
	env := []string{"TAILWATER_MAX_BODY=2KB", "TAILWATER_QUERY_MAX_ROWS=20", "TAILWATER_LOG_LEVEL=info"}
	p := startReady(t, project, t.TempDir(), env, append(quiet, "--max-body", "4KB")...)
	p.mustPost("payments", payments("a", 25))
	body := payments("b", 30)
	if len(body) < 2000 || len(body) > 4000 {
		t.Fatalf("a body of %d bytes shows nothing", len(body))
	}
	p.mustPost("payments", body)
	p.call(http.MethodPost, paymentsPath, strings.NewReader(payments("c", 60))).refusal(t, http.StatusRequestEntityTooLarge, "too_large")
	p.caughtUp()
	rows := func(limit int) reply {
		return p.call(http.MethodPost, "/v1/sql", strings.NewReader(fmt.Sprintf("SELECT id FROM payments LIMIT %d", limit)), "Content-Type", "text/plain")
	}
	rows(20).must(t)
	rows(21).refusal(t, http.StatusUnprocessableEntity, "result_too_large")
	began := time.Now()
	p.call(http.MethodGet, "/v1/views/overall?after=payments/1/0/99", nil).refusal(t, http.StatusGatewayTimeout, "timeout")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("query-timeout of the file is 200ms, the query took %s", took)
	}
}

func TestSettingsThatMakeNoSenseAreRefusedWithTheRemedy(t *testing.T) {
	taken := startReady(t, worldFolder(t), t.TempDir(), nil, quiet...)
	address, err := url.Parse(taken.url)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		yaml string
		env  []string
		args []string
		code int
		want []string
	}{
		"duration":        {"", nil, []string{"--land-age", "soon"}, exitUsage, []string{"--land-age", "soon"}},
		"size":            {"", nil, []string{"--land-bytes", "lots"}, exitUsage, []string{"--land-bytes", "64MB"}},
		"small log":       {"", nil, []string{"--log-max-bytes", "1MB"}, exitUsage, []string{"log-max-bytes", "16MB"}},
		"land-bytes":      {"", nil, []string{"--log-max-bytes", "16MB", "--land-bytes", "12MB"}, exitUsage, []string{"land-bytes", "half"}},
		"schedule":        {"", nil, []string{"--batch-schedule", "hourly"}, exitUsage, []string{"batch-schedule", "*/5 * * * *", "off"}},
		"lake":            {"", nil, []string{"--lake", "gs://bucket"}, exitUsage, []string{"lake", "s3://"}},
		"no bucket":       {"", nil, []string{"--lake", "s3://"}, exitUsage, []string{"s3://bucket/prefix"}},
		"half a key":      {"", []string{"TAILWATER_S3_ACCESS_KEY=a"}, []string{"--lake", "s3://b/c"}, exitUsage, []string{"access-key", "secret-key"}},
		"log":             {"", nil, []string{"--nats", "http://127.0.0.1"}, exitUsage, []string{"nats", "embedded", "nats://"}},
		"address":         {"", nil, []string{"--http", "8080"}, exitUsage, []string{"http", ":8080"}},
		"environment":     {"", []string{"TAILWATER_WAREHOUSE_THREADS=many"}, nil, exitUsage, []string{"many"}},
		"unknown flag":    {"", nil, []string{"--land-agee", "1s"}, exitUsage, []string{"--land-agee", "--land-age"}},
		"unknown key":     {"http: :0\nland-agee: 1s\n", nil, nil, exitUsage, []string{"tailwater.yaml:2", "land-agee", "land-age"}},
		"value in file":   {"land-age: soon\n", nil, nil, exitUsage, []string{"tailwater.yaml:1", "land-age"}},
		"no YAML":         {"a: [\n", nil, nil, exitUsage, []string{"tailwater.yaml:1"}},
		"secret file":     {"", nil, []string{"--lake", "s3://b/c", "--s3-access-key", "a", "--s3-secret-key-file", "/nowhere/secret"}, exitFailure, []string{"s3-secret-key-file", "/nowhere/secret"}},
		"address in use":  {"", nil, []string{"--http", address.Host}, exitFailure, []string{address.Host, "--http"}},
		"data is a file":  {"", nil, []string{"--data", tempFile(t, "data", "")}, exitFailure, []string{"data"}},
		"unknown command": {"", nil, []string{"--no-such-thing"}, exitUsage, []string{"--no-such-thing", "--help"}},
	} {
		t.Run(name, func(t *testing.T) {
			project := worldFolder(t)
			if c.yaml != "" {
				putFile(t, filepath.Join(project, "tailwater.yaml"), c.yaml)
			}
			code, stdout, stderr := runBinary(t, c.env, append([]string{"serve", project, "--http", "127.0.0.1:0", "--data", filepath.Join(t.TempDir(), "data")}, c.args...)...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if stdout != "" {
				t.Errorf("stdout is for results: %s", stdout)
			}
			mustContain(t, "stderr", stderr, c.want...)
			if strings.Contains(stderr, "goroutine ") {
				t.Error("a stack trace is no message")
			}
		})
	}
}

func TestAProjectThatIsNoneIsRefused(t *testing.T) {
	broken := worldFolder(t)
	putFile(t, filepath.Join(broken, "views", "broken.sql"), "SELECT merchnt, count(*) AS n FROM payments GROUP BY merchnt\n")
	for name, c := range map[string]struct {
		dir  string
		want []string
	}{
		"no folder":    {filepath.Join(t.TempDir(), "nothing"), []string{"nothing"}},
		"empty folder": {t.TempDir(), []string{"streams"}},
		"broken view":  {broken, []string{"broken.sql", "merchnt"}},
	} {
		t.Run(name, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			code, _, stderr := runBinary(t, nil, "serve", c.dir, "--http", "127.0.0.1:0", "--data", data)
			if code == 0 {
				t.Error("exit code 0")
			}
			mustContain(t, "stderr", stderr, c.want...)
			if _, err := os.Stat(data); err == nil {
				t.Error("a refused project made a data directory")
			}
		})
	}
}

func TestADataDirectoryServesOneServer(t *testing.T) {
	project, data := worldFolder(t), t.TempDir()
	p := startReady(t, project, data, nil, quiet...)
	p.mustPost("payments", payments("a", 100))
	for range 2 {
		code, _, stderr := runBinary(t, nil, "serve", project, "--data", data, "--http", "127.0.0.1:0")
		if code != exitFailure {
			t.Errorf("exit code %d of the second server", code)
		}
		mustContain(t, "stderr", stderr, "in use", data)
	}
	// The first one has not noticed.
	p.mustPost("payments", payments("b", 50))
	p.batch("")
	p.mustPost("payments", payments("c", 25))
	p.caughtUp()
	if n := p.count("payments"); n != "175" {
		t.Errorf("%s events", n)
	}
	if d, text := p.difference("hourly"); d != 0 {
		t.Errorf("difference %d: %s", d, text)
	}
	p.kill() // a lock must not outlive its process
	p = startReady(t, project, data, nil, quiet...)
	if n := p.count("payments"); n != "175" {
		t.Errorf("%s events after a kill", n)
	}
	p.stop()
}
