package main

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/tailwater/tailwater/lake"
)

// download copies a table out of an S3 server, to be read by other means.
func download(t *testing.T, o lake.S3Options, table string) string {
	t.Helper()
	client, err := minio.New(o.Endpoint, &minio.Options{Creds: credentials.NewStaticV4(o.AccessKey, o.SecretKey, "")})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for object := range client.ListObjects(t.Context(), "tailwater", minio.ListObjectsOptions{Prefix: table + "/", Recursive: true}) {
		if object.Err != nil {
			t.Fatal(object.Err)
		}
		if err := client.FGetObject(t.Context(), "tailwater", object.Key, filepath.Join(dir, object.Key), minio.GetObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, table)
}

// external are the settings of a server whose log and lake are elsewhere: the
// places as flags, the keys as an operator gives them.
func external(t *testing.T, nats string, o lake.S3Options) (env, args []string) {
	t.Helper()
	secret := tempFile(t, "secret", o.SecretKey+"\n")
	return []string{"TAILWATER_S3_ACCESS_KEY=" + o.AccessKey, "TAILWATER_S3_SECRET_KEY_FILE=" + secret},
		[]string{"--nats", nats, "--lake", "s3://tailwater/lake", "--s3-endpoint", "http://" + o.Endpoint}
}

// loadUntil sends until n more events are acknowledged. Every request gets its
// answer: afterwards nothing is on its way.
func (f *fleet) loadUntil(t *testing.T, p *process, n int) {
	t.Helper()
	goal := f.acknowledged() + n
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for f.acknowledged() < goal {
				ids, body := f.request()
				answer, err := p.post(t.Context(), "payments", body)
				if err != nil || len(answer.Rejected) > 0 {
					t.Errorf("%d events: %+v, %v", len(ids), answer, err)
					return
				}
				f.acknowledge(ids)
			}
		})
	}
	wg.Wait()
	p.caughtUp()
}

func (f *fleet) acknowledged() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.acked)
}

func TestNothingIsLostWithTheDataDirectoryWhenLogAndLakeAreElsewhere(t *testing.T) {
	nats, s3 := startNATS(t), startMinIO(t)
	env, args := external(t, nats, s3)
	project := worldFolder(t)
	f := newFleet(seed(t) + 40)

	first := t.TempDir()
	p := startReady(t, project, first, env, append(args, quiet...)...)
	f.loadUntil(t, p, 1500)
	p.batch("") // these are in the lake and in the warehouse
	f.loadUntil(t, p, 1500)
	f.verify(t, p)
	state := p.state()
	if state.Landed == 0 || state.Landed >= state.Head {
		t.Fatalf("some events must be landed and some not: %+v", state)
	}
	for _, name := range []string{"log", "lake"} {
		if _, err := os.Stat(filepath.Join(first, name)); err == nil {
			t.Errorf("the data directory has a %s, which should be elsewhere", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	goal, wg := f.acknowledged()+500, f.load(ctx, p)
	p.eventually("events acknowledged", 30*time.Second, func() bool { return f.acknowledged() >= goal })
	p.kill() // under load
	cancel()
	wg.Wait()

	// Warehouse and cache are lost.
	p = startReady(t, project, t.TempDir(), env, append(args, quiet...)...)
	f.verify(t, p)
	if got := p.state(); got.Epoch != 1 || len(got.Lost) != 0 {
		t.Errorf("an empty data directory made a new epoch, or lost events: %+v", got)
	}
	p.batch("?rebuild=true")
	f.verify(t, p)
	ctx, cancel = context.WithCancel(t.Context())
	goal, wg = f.acknowledged()+500, f.load(ctx, p)
	p.eventually("events acknowledged", 30*time.Second, func() bool { return f.acknowledged() >= goal })
	p.stop() // under load, too: what was acknowledged is in the lake when it exits
	cancel()
	wg.Wait()
	f.judge(t, lakeIDs(t, download(t, s3, "lake/payments")), "lake")

	p = startReady(t, project, t.TempDir(), env, append(args, often...)...)
	f.verify(t, p)
	p.stop()
	t.Logf("%d events acknowledged, %d without an answer", len(f.acked), len(f.unsure))
}

func TestAServerSaysWhichOtherServerItCannotUse(t *testing.T) {
	nats, s3 := startNATS(t), startMinIO(t)
	env, args := external(t, nats, s3)
	for name, c := range map[string]struct {
		env, args []string
		want      []string
	}{
		"no NATS server there": {nil, []string{"--nats", "nats://" + freeAddr(t)}, []string{"nats"}},
		"no S3 server there":   {nil, []string{"--s3-endpoint", "http://" + freeAddr(t)}, []string{`"tailwater"`, "endpoint"}},
		"no such bucket":       {nil, []string{"--lake", "s3://no-such-bucket/lake"}, []string{"no-such-bucket"}},
		"a wrong key":          {[]string{"TAILWATER_S3_ACCESS_KEY=somebody"}, nil, []string{"s3"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, _, stderr := runBinary(t, append(env, c.env...),
				append(append([]string{"serve", worldFolder(t), "--data", t.TempDir(), "--http", "127.0.0.1:0"}, args...), c.args...)...)
			if code != exitFailure {
				t.Errorf("exit code %d", code)
			}
			mustContain(t, "stderr", strings.ToLower(stderr), c.want...)
			if strings.Contains(stderr, s3.SecretKey) {
				t.Errorf("the secret key is shown: %s", stderr)
			}
			t.Log(stderr)
		})
	}
}

// runBinary runs the real program to its end, which must come within a minute.
func runBinary(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, builtBinary(t), args...)
	cmd.Env = append(os.Environ(), env...)
	var out, err strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &err
	if e := cmd.Run(); e != nil && cmd.ProcessState == nil {
		t.Fatal(e)
	}
	if ctx.Err() != nil {
		t.Errorf("%v did not end by itself within a minute", args)
	}
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

func TestAnInterruptedLakeDoesNotStopAnswers(t *testing.T) {
	s3 := startMinIO(t)
	link := startLink(t, s3.Endpoint)
	env, args := external(t, "embedded", s3)
	args = append(args, "--s3-endpoint", "http://"+link.addr, "--land-age", "100ms", "--batch-schedule", "@every 1s")
	f := newFleet(seed(t) + 41)
	p := startReady(t, worldFolder(t), t.TempDir(), env, args...)
	f.loadUntil(t, p, 500)
	link.cut()
	f.loadUntil(t, p, 1000)
	f.verify(t, p)
	if s := p.call(http.MethodGet, "/readyz", nil).status; s != http.StatusOK {
		t.Errorf("readyz answers %d while the lake is away", s)
	}
	link.mend()
	p.eventually("everything landed", 40*time.Second, func() bool { s := p.state(); return s.Landed == s.Head })
	f.verify(t, p)
	p.stop()
	f.judge(t, lakeIDs(t, download(t, s3, "lake/payments")), "lake")
}
