package config

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

func project(t *testing.T, yaml string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestDefaultsWithoutAFile(t *testing.T) {
	dir := t.TempDir()
	s, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := Settings{
		Data: filepath.Join(dir, "data"), HTTP: "127.0.0.1:8080", Lake: filepath.Join(dir, "data", "lake"),
		S3:   S3{Endpoint: "https://s3.amazonaws.com", Region: "us-east-1"},
		NATS: "embedded", NATSDir: filepath.Join(dir, "data", "log"), LogMaxBytes: 10 * GB,
		LandBytes: 64 * MB, LandAge: 30 * time.Second, BatchSchedule: "* * * * *", CheckSchedule: "@every 1h",
		WarehouseMemory: GB, WarehouseThreads: 1, SpeedMemory: 512 * MB, MaxBody: 32 * MB,
		QueryTimeout: 30 * time.Second, QueryMaxRows: 1_000_000, QueryConcurrency: 8, PostgresConnections: 100, LogFormat: "text", LogLevel: "info",
		Auth: "off", AuditLog: filepath.Join(dir, "data", "audit.log"),
	}
	if s != want {
		t.Errorf("got  %+v\nwant %+v", s, want)
	}
}

func TestFlagBeatsEnvironmentBeatsFile(t *testing.T) {
	dir := project(t, "land-age: 1s\nland-bytes: 1MB\nmax-body: 1MB\ns3:\n  region: file\n  insecure: true\n")
	t.Setenv("TAILWATER_LAND_AGE", "2s")
	t.Setenv("TAILWATER_LAND_BYTES", "2MB")
	t.Setenv("TAILWATER_S3_REGION", "environment")
	file, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var s Settings
	parser, err := kong.New(&s, Variables(), kong.Resolvers(file), kong.Writers(io.Discard, io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse([]string{"--land-age=3s"}); err != nil {
		t.Fatal(err)
	}
	if s.LandAge != 3*time.Second || s.LandBytes != 2*MB || s.MaxBody != MB || s.S3.Region != "environment" || !s.S3.Insecure {
		t.Errorf("land-age %s, land-bytes %s, max-body %s, s3 %+v", s.LandAge, s.LandBytes, s.MaxBody, s.S3)
	}
}

func TestPlacesInTheFileAreRelativeToTheProject(t *testing.T) {
	dir := project(t, "data: state\nlake: s3://bucket/a/b/\n")
	s, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if s.Data != filepath.Join(dir, "state") || s.NATSDir != filepath.Join(dir, "state", "log") {
		t.Errorf("data %s, log %s", s.Data, s.NATSDir)
	}
	if bucket, prefix := s.Bucket(); bucket != "bucket" || prefix != "a/b" {
		t.Errorf("bucket %q, prefix %q", bucket, prefix)
	}
}

func TestSecretsComeFromFiles(t *testing.T) {
	dir := project(t, "s3:\n  access-key: AK\n  secret-key-file: secret\n")
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "s3-secret-key-file") {
		t.Errorf("missing secret file: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("SK\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Load(dir)
	if err != nil || s.S3.SecretKey != "SK" {
		t.Errorf("secret %q, %v", s.S3.SecretKey, err)
	}
}

func TestFileErrorsNameTheLineAndTheRemedy(t *testing.T) {
	for name, c := range map[string]struct {
		yaml string
		want []string
	}{
		"misspelt key":         {"http: localhost:80\nland-agee: 1s\n", []string{"tailwater.yaml:2:", `unknown setting "land-agee"`, `"land-age"`}},
		"misspelt nested key":  {"s3:\n  endpont: x\n", []string{"tailwater.yaml:2:", `"s3.endpont"`, `"s3-endpoint"`}},
		"nothing near":         {"zzzzzzzzz: 1\n", []string{"tailwater.yaml:1:", "tailwater serve --help"}},
		"all unknown reported": {"aaaaaaaa: 1\nbbbbbbbb: 1\n", []string{"tailwater.yaml:1:", "tailwater.yaml:2:"}},
		"bad size":             {"\nland-bytes: lots\n", []string{"tailwater.yaml:2:", "land-bytes", "64MB"}},
		"bad duration":         {"land-age: 30\n", []string{"tailwater.yaml:1:", "land-age", "30"}},
		"bad number":           {"query-max-rows: many\n", []string{"tailwater.yaml:1:", "query-max-rows"}},
		"bad choice":           {"log-format: xml\n", []string{"tailwater.yaml:1:", "text, json"}},
		"list":                 {"http:\n  - a\n", []string{"tailwater.yaml:2:", "plain value"}},
		"set twice":            {"s3-region: a\ns3:\n  region: b\n", []string{"tailwater.yaml:3:", "line 1"}},
		"not YAML":             {"a: [\n", []string{"tailwater.yaml:1:"}},
		"not a mapping":        {"- a\n", []string{"tailwater.yaml:1:", "name: value"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(project(t, c.yaml))
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestAFileOfCommentsIsEmpty(t *testing.T) {
	for _, yaml := range []string{"", "# land-age: 30s\n", "---\n", "http:\n", "data: \"\"\n"} {
		dir := project(t, yaml)
		if s, err := Load(dir); err != nil || s.HTTP != "127.0.0.1:8080" || s.Data != filepath.Join(dir, "data") {
			t.Errorf("%q: %v", yaml, err)
		}
	}
}

func TestValidateReportsEverySettingThatIsWrong(t *testing.T) {
	for setting, yaml := range map[string]string{
		"http":              "http: localhost",
		"nats":              "nats: localhost:4222",
		"lake":              "lake: gs://bucket",
		"lake: ":            "lake: s3:///prefix",
		"s3":                "lake: s3://b\ns3:\n  access-key: A",
		"batch-schedule":    "batch-schedule: every minute",
		"batch-schedule: ":  "batch-schedule: CRON_TZ=Europe/Berlin * * * * *",
		"check-schedule":    "check-schedule: 1h",
		"land-bytes":        "land-bytes: 9GB",
		"log-max-bytes":     "log-max-bytes: 1MB",
		"warehouse-memory":  "warehouse-memory: 1MB",
		"warehouse-threads": "warehouse-threads: 0",
		"query-timeout":     "query-timeout: 0s",
		"land-age":          "land-age: -1s",
	} {
		_, err := Load(project(t, yaml+"\n"))
		if err == nil || !strings.Contains(err.Error(), setting) {
			t.Errorf("%s: %v", yaml, err)
		}
	}
	_, err := Load(project(t, "http: x\nnats: y\nquery-max-rows: 0\n"))
	for _, want := range []string{"http", "nats", "query-max-rows"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not report %s", err, want)
		}
	}
}

func TestOnlyThisMachineReachesAServerWithoutAuthentication(t *testing.T) {
	putKey := func(dir string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "admin.key"), []byte("an-admin-key-of-some-length\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for yaml, want := range map[string]string{
		"http: :8080":                                            "--auth keys",
		"http: 0.0.0.0:8080":                                     "--auth keys",
		"http: 192.168.1.2:8080":                                 "--insecure-listen",
		"http: example.com:8080":                                 "127.0.0.1",
		"http: \"[::]:8080\"":                                    "--auth keys",
		"http: localhost:8080":                                   "",
		"http: \"[::1]:8080\"":                                   "",
		"http: 127.1.2.3:8080":                                   "",
		"admin-key-file: admin.key":                              "authentication is off",
		"tls-cert: cert.pem":                                     "tls-key",
		"http: :8080\ninsecure-listen: true":                     "",
		"http: :8080\nauth: keys\nadmin-key-file: admin.key":     "",
		"http: :8080\nauth: \"off\"":                             "--auth keys",
		"http: :8080\nauth: keys\nadmin-key-file: no-such.key":   "admin-key-file",
		"http: :8080\nauth: none":                                "must be one of",
		"http-hosts: A.example, b.example\nhttp: localhost:8080": "",
	} {
		dir := project(t, yaml+"\n")
		putKey(dir)
		s, err := Load(dir)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", yaml, err)
		}
		if strings.Contains(yaml, "admin.key") && err == nil && s.AdminKey != "an-admin-key-of-some-length" {
			t.Errorf("%q: admin key %q", yaml, s.AdminKey)
		}
		if strings.Contains(yaml, "hosts") && strings.Join(s.Hosts(), "|") != "a.example|b.example" {
			t.Errorf("hosts %q", s.Hosts())
		}
	}
	t.Setenv("TAILWATER_ADMIN_KEY", "from-the-environment-of-it")
	if s, err := Load(project(t, "auth: keys\n")); err != nil || s.AdminKey != "from-the-environment-of-it" {
		t.Errorf("%q %v", s.AdminKey, err)
	}
	if _, err := Load(project(t, "")); err == nil || strings.Contains(err.Error(), "from-the") {
		t.Errorf("a key that protects nothing: %v", err)
	}
	if Names()["admin-key"] {
		t.Error("the admin key can be an argument")
	}
}

func TestSchedules(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 10, 0, time.UTC)
	for text, next := range map[string]time.Duration{"* * * * *": 50 * time.Second, "@every 30s": 30 * time.Second} {
		s, on, err := Schedule(text)
		if err != nil || !on || s.Next(start) != start.Add(next) {
			t.Errorf("%s: %v %v", text, on, err)
		}
	}
	if _, on, err := Schedule("off"); on || err != nil {
		t.Errorf("off: %v %v", on, err)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"64MB": 64 * MB, "1GiB": 1 << 30, "1.5 GB": 1500 * MB, "17": 17, "0": 0, "1kib": 1024} {
		got, err := ParseSize(text)
		if err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
		if again, err := ParseSize(got.String()); err != nil || again != got {
			t.Errorf("%s prints as %s, which reads as %d, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "-1MB", "MB", "1XB", "99999999TB"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"description", "dedup-window", "time", "time-format", "id"}
	for word, want := range map[string]string{"tiem": "time", "time_format": "time-format", "dedup": "", "Descripton": "description", "x": "", "": ""} {
		if got := Nearest(word, words); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

// Uncommented, the template must say what the program does without a file.
func TestTheTemplateHoldsTheDefaults(t *testing.T) {
	var active strings.Builder
	for line := range strings.Lines(Template()) {
		rest := strings.TrimPrefix(line, "# ")
		if name, _, ok := strings.Cut(rest, ":"); ok && Names()[name] {
			line = rest
		}
		active.WriteString(line)
	}
	dir := project(t, active.String())
	got, err := Load(dir)
	if err != nil {
		t.Fatalf("%v\n%s", err, active.String())
	}
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte(Template()), 0o600); err != nil {
		t.Fatal(err)
	}
	want, err := Load(dir)
	if err != nil || got != want {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
	}
	if n := strings.Count(Template(), "\n# s3-"); n != 7 {
		t.Errorf("%d settings of s3 in the template", n)
	}
}

func TestAKeyInAFileCompletesTheOtherBeforeValidation(t *testing.T) {
	dir := project(t, "lake: s3://bucket\ns3:\n  access-key: AK\n  secret-key-file: secret\n")
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("SK\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err != nil {
		t.Error(err)
	}
}
