package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/tailwater/tailwater/lake"
	"github.com/tailwater/tailwater/stream"
)

// diskGround is what a server has by default: the embedded NATS server on disk,
// and the lake in a directory.
type diskGround struct {
	dir    string
	broker *stream.Broker
	backup bool // a copy of the log's directory was made
}

func (g *diskGround) parts(t *testing.T) parts {
	t.Helper()
	broker, err := stream.OpenBroker(t.Context(), stream.BrokerConfig{StoreDir: filepath.Join(g.dir, "log"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	g.broker = broker
	bucket, err := lake.OpenBucket(t.Context(), filepath.Join(g.dir, "lake"), lake.S3Options{})
	if err != nil {
		t.Fatal(err)
	}
	pt := testParts(g.dir, broker, bucket)
	pt.readDirs = append(pt.readDirs, filepath.Join(g.dir, "lake"))
	return pt
}

// testParts land and seal often, so that a short test sees many of both.
func testParts(dir string, broker *stream.Broker, bucket lake.Bucket) parts {
	return parts{
		log:    func(ctx context.Context, name string) (stream.Log, error) { return broker.Log(ctx, name, 1<<30) },
		bucket: bucket, cacheDir: filepath.Join(dir, "cache"), spoolDir: filepath.Join(dir, "spool"),
		readDirs:      []string{filepath.Join(dir, "cache"), filepath.Join(dir, "spool")},
		warehousePath: filepath.Join(dir, "warehouse", "warehouse.duckdb"), landBytes: 200_000, landAge: 2 * time.Second,
		warehouseMemory: "512MB", warehouseThreads: 1, speedMemory: "256MB",
	}
}

// down stops the log's server too; now and then its directory is copied, for a
// rollback to come.
func (g *diskGround) down() {
	if g.broker != nil {
		g.broker.Close()
		g.broker = nil
	}
}

func (g *diskGround) warehouse() string { return filepath.Join(g.dir, "warehouse", "warehouse.duckdb") }

// rollback restores an older copy of the log's directory, as an operator does
// after a disk died; then it takes a new copy.
func (g *diskGround) rollback(t *testing.T, _ *rand.Rand) (uint64, bool) {
	t.Helper()
	log, backup := filepath.Join(g.dir, "log"), filepath.Join(g.dir, "log-backup")
	if !g.backup {
		g.backup = true
		copyDir(t, log, backup)
		return 0, false
	}
	if err := os.RemoveAll(log); err != nil {
		t.Fatal(err)
	}
	copyDir(t, backup, log)
	g.backup = false
	broker, err := stream.OpenBroker(t.Context(), stream.BrokerConfig{StoreDir: log, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	l, err := broker.Log(t.Context(), "payments", 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	_, last, err := l.Bounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return last, true
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// remoteGround is what a larger installation has: a NATS server and an S3
// server, both processes of their own that outlive the node.
type remoteGround struct {
	dir    string
	nats   string
	s3     lake.S3Options
	broker *stream.Broker
}

func (g *remoteGround) parts(t *testing.T) parts {
	t.Helper()
	broker, err := stream.OpenBroker(t.Context(), stream.BrokerConfig{URL: g.nats, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	g.broker = broker
	bucket, err := lake.OpenBucket(t.Context(), "s3://tailwater/lake", g.s3)
	if err != nil {
		t.Fatal(err)
	}
	return testParts(g.dir, broker, bucket)
}

func (g *remoteGround) down() {
	if g.broker != nil {
		g.broker.Close()
		g.broker = nil
	}
}

func (g *remoteGround) warehouse() string {
	return filepath.Join(g.dir, "warehouse", "warehouse.duckdb")
}

func (g *remoteGround) rollback(*testing.T, *rand.Rand) (uint64, bool) { return 0, false }

// tool finds a server that `make tools` built.
func tool(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Fatalf("%s does not name a program: run `make test`, which builds what the tests need", variable)
	}
	return path
}

// runTool starts a server and waits until it listens.
func runTool(t *testing.T, addr string, env []string, path string, args ...string) {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	await(t, ctx, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	if ctx.Err() != nil {
		t.Fatalf("%s does not listen on %s", path, addr)
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startNATS runs a NATS server that syncs every message.
func startNATS(t *testing.T) string {
	t.Helper()
	dir, addr := t.TempDir(), freeAddr(t)
	config := filepath.Join(dir, "server.conf")
	putFile(t, config, fmt.Sprintf("listen: %q\nmax_payload: 8388608\njetstream { store_dir: %q, sync_interval: always }\n", addr, filepath.Join(dir, "js")))
	runTool(t, addr, nil, tool(t, "TAILWATER_TEST_NATS"), "-c", config)
	return "nats://" + addr
}

// startMinIO runs an S3 server with an empty bucket "tailwater".
func startMinIO(t *testing.T) lake.S3Options {
	t.Helper()
	addr := freeAddr(t)
	o := lake.S3Options{Endpoint: addr, AccessKey: "tailwater", SecretKey: "tailwater-secret", Insecure: true}
	runTool(t, addr, []string{"MINIO_ROOT_USER=" + o.AccessKey, "MINIO_ROOT_PASSWORD=" + o.SecretKey},
		tool(t, "TAILWATER_TEST_MINIO"), "server", "--quiet", "--address", addr, t.TempDir())
	client, err := minio.New(addr, &minio.Options{Creds: credentials.NewStaticV4(o.AccessKey, o.SecretKey, "")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	await(t, ctx, func() bool { return client.MakeBucket(ctx, "tailwater", minio.MakeBucketOptions{}) == nil })
	if ctx.Err() != nil {
		t.Fatal("the S3 server does not make a bucket")
	}
	return o
}

func TestAnswersEqualARecountAtAnyMomentOnDisk(t *testing.T) {
	t.Parallel()
	drive(t, newWorld(t, seed(t)+1, &diskGround{dir: t.TempDir()}), operations(t, 6_000))
}

func TestAnswersEqualARecountAtAnyMomentOnExternalServers(t *testing.T) {
	t.Parallel()
	g := &remoteGround{dir: t.TempDir(), nats: startNATS(t), s3: startMinIO(t)}
	drive(t, newWorld(t, seed(t)+2, g), operations(t, 4_000))
}
