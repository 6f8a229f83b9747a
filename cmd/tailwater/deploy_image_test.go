package main

import (
	"encoding/json"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/tailwater/tailwater/internal/config"
)

func readRepository(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func inRepository(path string) bool {
	_, err := os.Stat(filepath.Join(repository, path))
	return err == nil
}

// mustUnderstand parses a command line of ours without running it.
func mustUnderstand(t *testing.T, args []string) *commandLine {
	t.Helper()
	var c commandLine
	parser, err := kong.New(&c, kong.Name("tailwater"), config.Variables(), kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Errorf("tailwater %s: %v", strings.Join(args, " "), err)
	}
	return &c
}

// An instruction is one of a Dockerfile, with its lines joined.
type instruction struct{ name, rest string }

// A stage is what follows a FROM.
type stage struct {
	image, name  string
	instructions []instruction
}

// all gives the arguments of the instructions of a name.
func (s *stage) all(name string) []string {
	var found []string
	for _, i := range s.instructions {
		if i.name == name {
			found = append(found, i.rest)
		}
	}
	return found
}

// only gives the arguments of an instruction that must be there once.
func (s *stage) only(t *testing.T, name string) string {
	t.Helper()
	found := s.all(name)
	if len(found) != 1 {
		t.Fatalf("%s: %d instructions %s, want one", s.image, len(found), name)
	}
	return found[0]
}

// execForm reads ["program", "argument"]: there is no shell for the other form.
func execForm(t *testing.T, text string) []string {
	t.Helper()
	var args []string
	if err := json.Unmarshal([]byte(text), &args); err != nil || len(args) == 0 {
		t.Fatalf("%s is not in exec form: %v", text, err)
	}
	return args
}

func parseDockerfile(t *testing.T, path string) []*stage {
	t.Helper()
	text := regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(readRepository(t, path), "")
	text = regexp.MustCompile(`\\\n\s*`).ReplaceAllString(text, "")
	var stages []*stage
	for line := range strings.Lines(text) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest = strings.TrimSpace(rest)
		switch {
		case name == "":
		case name == "FROM":
			image, as, _ := strings.Cut(rest, " AS ")
			stages = append(stages, &stage{image: image, name: as})
		case len(stages) == 0:
			t.Fatalf("%s: %s before FROM", path, name)
		default:
			s := stages[len(stages)-1]
			s.instructions = append(s.instructions, instruction{name, rest})
		}
	}
	mustCopyWhatThereIs(t, stages)
	return stages
}

// mustCopyWhatThereIs checks that each COPY takes from the repository, or from
// a stage what that stage makes.
func mustCopyWhatThereIs(t *testing.T, stages []*stage) {
	t.Helper()
	for _, s := range stages {
		for _, c := range s.all("COPY") {
			from, paths := "", []string{}
			for _, word := range strings.Fields(c) {
				if value, ok := strings.CutPrefix(word, "--from="); ok {
					from = value
				} else if !strings.HasPrefix(word, "--") {
					paths = append(paths, word)
				}
			}
			for _, source := range paths[:len(paths)-1] {
				switch {
				case from == "" && !inRepository(source):
					t.Errorf("COPY %s: there is no such file", source)
				case from != "" && !made(stages, from, source):
					t.Errorf("COPY %s: stage %q does not make it", source, from)
				}
			}
		}
	}
}

func made(stages []*stage, name, path string) bool {
	for _, s := range stages {
		if s.name == name && regexp.MustCompile(regexp.QuoteMeta(path)+`(\s|$)`).MatchString(strings.Join(s.all("RUN"), "\n")) {
			return true
		}
	}
	return false
}

// moduleVersion gives what go.mod says of a module, or of "go".
func moduleVersion(t *testing.T, module string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^\s*` + regexp.QuoteMeta(module) + ` v?(\S+)`).FindStringSubmatch(readRepository(t, "go.mod"))
	if m == nil {
		t.Fatalf("go.mod has no %s", module)
	}
	return m[1]
}

func TestTheImageIsBuiltAsTheProgramNeeds(t *testing.T) {
	stages := parseDockerfile(t, "Dockerfile")
	if len(stages) != 2 {
		t.Fatalf("%d stages, want a build and what runs", len(stages))
	}
	build, run := stages[0], stages[1]
	goVersion := strings.Join(strings.Split(moduleVersion(t, "go"), ".")[:2], ".")
	debian := map[string]string{"golang:" + goVersion + "-bookworm": "debian12", "golang:" + goVersion + "-trixie": "debian13"}[build.image]
	if debian == "" {
		t.Errorf("built with %s, but go.mod wants Go %s", build.image, goVersion)
	}
	// DuckDB is C++: only the cc images have its library, and it must be that of the build.
	if run.image != "gcr.io/distroless/cc-"+debian+":nonroot" {
		t.Errorf("runs on %s, which does not have the libraries of %s", run.image, build.image)
	}
	_ = release // the variable that the linker sets
	mustContain(t, "the build", strings.Join(build.all("RUN"), "\n"), "CGO_ENABLED=1", "-trimpath", `-ldflags "-s -w -X main.release=${VERSION}"`, "./cmd/tailwater")
	build.only(t, "ARG")
}

func TestTheImageRunsTheProgramAsNobodyInParticular(t *testing.T) {
	run := parseDockerfile(t, "Dockerfile")[1]
	if user := run.only(t, "USER"); !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(user) {
		t.Errorf("USER %s: want numbers that are not root's, which Kubernetes can tell", user)
	} else if !strings.Contains(strings.Join(run.all("COPY"), "\n"), "--chown="+user+" /out/data /data") {
		t.Errorf("/data does not belong to %s", user)
	}
	entry, health := execForm(t, run.only(t, "ENTRYPOINT")), run.only(t, "HEALTHCHECK")
	_, test, _ := strings.Cut(health, " CMD ")
	check, command := execForm(t, test), execForm(t, run.only(t, "CMD"))
	if len(entry) != 1 || check[0] != entry[0] || !strings.HasSuffix(run.all("COPY")[0], " "+entry[0]) {
		t.Errorf("ENTRYPOINT %v, HEALTHCHECK %v: want the program that is copied", entry, check)
	}
	serve := mustUnderstand(t, command).Serve
	_, port, _ := net.SplitHostPort(serve.HTTP)
	at, err := url.Parse(mustUnderstand(t, check[1:]).Healthcheck.URL)
	if err != nil || at.Port() != port || run.only(t, "EXPOSE") != port {
		t.Errorf("serves port %s, exposes %s, checks %v", port, run.only(t, "EXPOSE"), at)
	}
	if volume := execForm(t, run.only(t, "VOLUME")); volume[0] != serve.Data {
		t.Errorf("volume %v, data in %s", volume, serve.Data)
	}
	if signal := run.only(t, "STOPSIGNAL"); signal != "SIGTERM" {
		t.Errorf("STOPSIGNAL %s", signal)
	}
	if !made(parseDockerfile(t, "Dockerfile"), "build", "/out"+serve.Dir) {
		t.Errorf("nothing to mount a project on at %s", serve.Dir)
	}
}

func TestTheImageOfJupyterHasWhatTheNotebooksAreTestedWith(t *testing.T) {
	s := parseDockerfile(t, "deploy/jupyter.Dockerfile")[0]
	if user := s.all("USER"); len(user) != 1 || user[0] == "root" {
		t.Errorf("USER %v", user)
	}
	execForm(t, s.only(t, "ENTRYPOINT"))
	requirements := readRepository(t, "deploy/jupyter-requirements.txt")
	mustContain(t, "requirements", requirements, "-r ../tools/requirements.txt\n")
	for line := range strings.Lines(requirements + readRepository(t, "tools/requirements.txt")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "-r ") && !strings.Contains(line, "==") {
			t.Errorf("%q is not pinned", line)
		}
	}
}
