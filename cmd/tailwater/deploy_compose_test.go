package main

import (
	"fmt"
	"maps"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/tailwater/tailwater/internal/config"
)

// A composition is docker-compose.yml, with what we use of it: a key that is
// not here is a mistake, or belongs here.
type composition struct {
	Name     string                     `yaml:"name"`
	Services map[string]*composeService `yaml:"services"`
	Volumes  map[string]any             `yaml:"volumes"`
}

type composeService struct {
	Profiles []string `yaml:"profiles"`
	Image    string   `yaml:"image"`
	Build    *struct {
		Context    string            `yaml:"context"`
		Dockerfile string            `yaml:"dockerfile"`
		Args       map[string]string `yaml:"args"`
	} `yaml:"build"`
	Entrypoint  []string          `yaml:"entrypoint"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Ports       []string          `yaml:"ports"`
	Volumes     []string          `yaml:"volumes"`
	Healthcheck *struct {
		Test        []string `yaml:"test"`
		Interval    string   `yaml:"interval"`
		Timeout     string   `yaml:"timeout"`
		StartPeriod string   `yaml:"start_period"`
	} `yaml:"healthcheck"`
	DependsOn map[string]struct {
		Condition string `yaml:"condition"`
		Required  *bool  `yaml:"required"`
	} `yaml:"depends_on"`
	StopGracePeriod time.Duration `yaml:"stop_grace_period"`
	Restart         string        `yaml:"restart"`
	ReadOnly        bool          `yaml:"read_only"`
	Tmpfs           []string      `yaml:"tmpfs"`
	CapDrop         []string      `yaml:"cap_drop"`
	SecurityOpt     []string      `yaml:"security_opt"`
}

var composeVariable = regexp.MustCompile(`\$\{(\w+):-([^}]*)\}`)

// compose reads docker-compose.yml as Compose does with these variables.
func compose(t *testing.T, variables map[string]string) composition {
	t.Helper()
	text := composeVariable.ReplaceAllStringFunc(readRepository(t, "docker-compose.yml"), func(use string) string {
		m := composeVariable.FindStringSubmatch(use)
		if value := variables[m[1]]; value != "" {
			return value
		}
		return m[2]
	})
	if at := regexp.MustCompile(`\$\{?\w+.*`).FindString(text); at != "" {
		t.Fatalf("%q has no default, or a form that this test does not know", at)
	}
	var c composition
	if err := yaml.UnmarshalWithOptions([]byte(text), &c, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	return c
}

// envFile reads the variables of an env file.
func envFile(t *testing.T, path string) map[string]string {
	t.Helper()
	variables := map[string]string{}
	for line := range strings.Lines(readRepository(t, path)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			t.Fatalf("%s: %q", path, line)
		}
		variables[name] = value
	}
	return variables
}

func TestEveryServiceOfTheCompositionIsSound(t *testing.T) {
	c := compose(t, nil)
	if got := slices.Sorted(maps.Keys(c.Services)); !slices.Equal(got, []string{"grafana", "jupyter", "nats", "prometheus", "s3", "tailwater"}) {
		t.Fatalf("services %v", got)
	}
	for name, s := range c.Services {
		t.Run(name, func(t *testing.T) {
			want := []string{name}
			switch name {
			case "tailwater":
				want = nil // what `docker compose up` starts
			case "prometheus":
				want = []string{"grafana"} // which asks it
			}
			if !slices.Equal(s.Profiles, want) {
				t.Errorf("profiles %v, want %v", s.Profiles, want)
			}
			s.mustBePinned(t)
			s.mustBindLoopback(t)
			s.mustMountWhatThereIs(t, c)
			s.mustUseSettings(t)
			s.mustDependOnHealth(t, c)
		})
	}
}

func (s *composeService) mustBePinned(t *testing.T) {
	t.Helper()
	_, tag, _ := strings.Cut(s.Image, ":")
	if s.Build != nil {
		file := s.Build.Dockerfile
		if file == "" {
			file = "Dockerfile"
		}
		if tag != "local" || !inRepository(filepath.Join(s.Build.Context, file)) {
			t.Errorf("image %s is built from %s, which is not there, or looks like somebody else's", s.Image, file)
		}
		return
	}
	if !regexp.MustCompile(`^v?\d+\.\d+\.\d+(-|$)`).MatchString(tag) {
		t.Errorf("image %q has no version", s.Image)
	}
}

func (s *composeService) mustBindLoopback(t *testing.T) {
	t.Helper()
	for _, port := range s.Ports {
		if !regexp.MustCompile(`^127\.0\.0\.1:\d+:\d+$`).MatchString(port) {
			t.Errorf("port %q: nobody is asked for a key, bind 127.0.0.1", port)
		}
	}
}

func (s *composeService) mustMountWhatThereIs(t *testing.T, c composition) {
	t.Helper()
	for _, mount := range s.Volumes {
		source, _, _ := strings.Cut(mount, ":")
		if strings.HasPrefix(source, ".") {
			if !inRepository(source) {
				t.Errorf("%s: there is no %s", mount, source)
			}
		} else if _, declared := c.Volumes[source]; !declared {
			t.Errorf("%s: no volume %s is declared", mount, source)
		}
	}
}

// mustUseSettings refuses variables of ours that nothing reads.
func (s *composeService) mustUseSettings(t *testing.T) {
	t.Helper()
	known := map[string]bool{"TAILWATER_URL": true} // the clients'
	for name := range config.Names() {
		known[config.EnvPrefix+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = true
	}
	for name := range s.Environment {
		if strings.HasPrefix(name, config.EnvPrefix) && !known[name] {
			t.Errorf("%s is no setting", name)
		}
	}
}

func (s *composeService) mustDependOnHealth(t *testing.T, c composition) {
	t.Helper()
	if s.Healthcheck != nil && (len(s.Healthcheck.Test) < 2 || s.Healthcheck.Test[0] != "CMD") {
		t.Errorf("healthcheck %v is not in exec form", s.Healthcheck.Test)
	}
	for name, d := range s.DependsOn {
		other := c.Services[name]
		if other == nil || d.Condition != "service_healthy" || other.Healthcheck == nil {
			t.Fatalf("depends on %s, %s: want a service with a healthcheck, and its health", name, d.Condition)
		}
		optional := d.Required != nil && !*d.Required
		if behind := len(other.Profiles) > 0; behind != optional {
			t.Errorf("depends on %s of profiles %v: required is %t", name, other.Profiles, !optional)
		}
	}
}

func TestTheCompositionRunsTheProgramOfTheImage(t *testing.T) {
	s := compose(t, nil).Services["tailwater"]
	run := parseDockerfile(t, "Dockerfile")[1]
	check := s.Healthcheck.Test[1:]
	if program := execForm(t, run.only(t, "ENTRYPOINT"))[0]; check[0] != program {
		t.Errorf("healthcheck runs %s, the image has %s", check[0], program)
	}
	mustUnderstand(t, check[1:])
	// The demo makes its project in the data directory when it reads its flags.
	command := slices.Clone(s.Command)
	command[slices.Index(command, "--data")+1] = t.TempDir()
	mustUnderstand(t, command)
	if port := run.only(t, "EXPOSE"); !strings.HasSuffix(s.Ports[0], ":"+port) || !slices.Contains(s.Command, "0.0.0.0:"+port) {
		t.Errorf("port %s is exposed, %v published, %v run", port, s.Ports, s.Command)
	}
	if volume := execForm(t, run.only(t, "VOLUME"))[0]; s.Volumes[0] != "data:"+volume || !slices.Contains(s.Command, volume) {
		t.Errorf("volume %s, mounted %v, run %v", volume, s.Volumes, s.Command)
	}
	if s.StopGracePeriod <= drainTime {
		t.Errorf("killed %s after SIGTERM, but landing may take %s", s.StopGracePeriod, drainTime)
	}
	if _, ok := s.Build.Args[versionArgument(t)]; !ok {
		t.Errorf("build arguments %v", s.Build.Args)
	}
}

// versionArgument gives the build argument of the image.
func versionArgument(t *testing.T) string {
	t.Helper()
	name, _, _ := strings.Cut(parseDockerfile(t, "Dockerfile")[0].only(t, "ARG"), "=")
	return name
}

func TestTheServersBesideAreThoseThatTheTestsUse(t *testing.T) {
	c := compose(t, nil)
	for name, module := range map[string]string{"nats": "github.com/nats-io/nats-server/v2", "s3": "github.com/versity/versitygw"} {
		if version := moduleVersion(t, module); !strings.Contains(c.Services[name].Image, version) {
			t.Errorf("%s is %s, the tests use %s", name, c.Services[name].Image, version)
		}
	}
}

// Each env file makes settings that are valid, and names servers that are
// started with it.
func TestEveryEnvFileNamesServersThatRun(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(repository, "deploy", "*.env"))
	if err != nil || len(files) != 3 {
		t.Fatalf("%v %v", files, err)
	}
	for _, file := range append(files, "") {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".env"), func(t *testing.T) {
			variables := map[string]string{}
			if file != "" {
				variables = envFile(t, filepath.Join("deploy", filepath.Base(file)))
			}
			c := compose(t, variables)
			text, used := readRepository(t, "docker-compose.yml"), map[string]bool{}
			for _, m := range composeVariable.FindAllStringSubmatch(text, -1) {
				used[m[1]] = true
			}
			for name := range variables {
				if !used[name] && name != "COMPOSE_PROFILES" && name != "COMPOSE_PROJECT_NAME" {
					t.Errorf("%s is used by nothing", name)
				}
			}
			for name, value := range c.Services["tailwater"].Environment {
				t.Setenv(name, value)
			}
			s, err := config.Load(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			needs := serversOf(t, c, s)
			profiles := slices.DeleteFunc(strings.Split(variables["COMPOSE_PROFILES"], ","), func(p string) bool { return p == "" })
			if !slices.Equal(needs, profiles) {
				t.Errorf("uses the servers %v, starts %v", needs, profiles)
			}
		})
	}
}

// serversOf names the services that the settings use, in order.
func serversOf(t *testing.T, c composition, s config.Settings) []string {
	t.Helper()
	var needs []string
	if s.NATS != config.Embedded {
		at, _ := url.Parse(s.NATS)
		needs = append(needs, at.Hostname())
		mustContain(t, "nats.conf", readRepository(t, "deploy/nats.conf"), fmt.Sprintf(`listen: "0.0.0.0:%s"`, at.Port()))
	}
	if bucket, _ := s.Bucket(); bucket != "" {
		at, _ := url.Parse(s.S3.Endpoint)
		needs = append(needs, at.Hostname())
		server := c.Services[at.Hostname()]
		if server == nil {
			t.Fatalf("no service %s", at.Hostname())
		}
		mustContain(t, "the S3 server", server.Entrypoint[2], "--port :"+at.Port()+" ", "mkdir -p /data/"+bucket+" ")
		if server.Environment["ROOT_ACCESS_KEY"] != s.S3.AccessKey || server.Environment["ROOT_SECRET_KEY"] != s.S3.SecretKey {
			t.Error("the S3 server has other keys than tailwater")
		}
	}
	return needs
}

func TestTheNATSServerTakesItsConfiguration(t *testing.T) {
	s := compose(t, nil).Services["nats"]
	if s.Volumes[0] != "./deploy/nats.conf:"+s.Command[1]+":ro" {
		t.Errorf("mounts %v, reads %v", s.Volumes, s.Command)
	}
	file := filepath.Join(repository, "deploy", "nats.conf")
	if out, err := exec.Command(tool(t, "TAILWATER_TEST_NATS"), "-t", "-c", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	mustContain(t, "nats.conf", readRepository(t, "deploy/nats.conf"), "sync_interval: always", "max_payload: 8388608", `store_dir: "/data"`)
}
