package lake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
)

// buckets makes one empty bucket of each kind.
func buckets(t *testing.T) map[string]Bucket {
	t.Helper()
	return map[string]Bucket{
		"directory": must(OpenBucket(t.Context(), filepath.Join(t.TempDir(), "new", "lake"), S3Options{}))(t),
		"memory":    NewMemoryBucket(),
		"s3":        must(OpenBucket(t.Context(), "s3://lake/"+uuid.NewString()+"/deep", s3))(t),
	}
}

func TestBucketConformance(t *testing.T) {
	for name, b := range buckets(t) {
		t.Run(name, func(t *testing.T) {
			t.Run("a put is read back and listed in order", func(t *testing.T) { conformPut(t, b) })
			t.Run("put if absent has one winner", func(t *testing.T) { conformRace(t, b) })
			t.Run("a data file is never overwritten", func(t *testing.T) { conformFile(t, b) })
			t.Run("a lake accepts the store", func(t *testing.T) { openLake(t, b, 0) })
		})
	}
}

func list(t *testing.T, b Bucket, prefix, after string) []string {
	t.Helper()
	out := []string{}
	for o, err := range b.List(t.Context(), prefix, after) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s:%d", o.Key, o.Size))
	}
	return out
}

func conformPut(t *testing.T, b Bucket) {
	ctx := t.Context()
	if _, err := b.Get(ctx, "p/none"); !errors.Is(err, ErrNotExist) {
		t.Errorf("Get of nothing: %v", err)
	}
	if _, err := b.Size(ctx, "p/none"); !errors.Is(err, ErrNotExist) {
		t.Errorf("Size of nothing: %v", err)
	}
	if err := b.Delete(ctx, "p/none"); err != nil {
		t.Errorf("Delete of nothing: %v", err)
	}
	if got := list(t, b, "p/", ""); len(got) != 0 {
		t.Errorf("List of nothing: %v", got)
	}
	for _, key := range []string{"p/b", "p/a.x", "p/a/x", "p/c", "q/z"} {
		if err := b.Put(ctx, key, []byte(key)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Put(ctx, "p/b", []byte("replaced")); err != nil {
		t.Fatal(err)
	}
	if got := must(readAll(ctx, b, "p/b"))(t); string(got) != "replaced" {
		t.Errorf("p/b is %q", got)
	}
	if n := must(b.Size(ctx, "p/b"))(t); n != 8 {
		t.Errorf("p/b has %d bytes", n)
	}
	if got, want := list(t, b, "p/", ""), []string{"p/a.x:5", "p/a/x:5", "p/b:8", "p/c:3"}; !slices.Equal(got, want) {
		t.Errorf("List p/: %v, want %v", got, want)
	}
	if got, want := list(t, b, "p/", "p/a/x"), []string{"p/b:8", "p/c:3"}; !slices.Equal(got, want) {
		t.Errorf("List after p/a/x: %v, want %v", got, want)
	}
	if err := b.Delete(ctx, "p/b"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Get(ctx, "p/b"); !errors.Is(err, ErrNotExist) {
		t.Errorf("Get after Delete: %v", err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := b.PutIfAbsent(gone, "p/never", []byte("x")); err == nil {
		t.Error("PutIfAbsent under an ended context succeeded")
	}
}

func conformRace(t *testing.T, b Bucket) {
	const writers = 8
	for round := range 5 {
		key := fmt.Sprintf("race/%d.json", round)
		var won atomic.Int32
		var winner atomic.Value
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				data := strings.Repeat(fmt.Sprint(w), 3000)
				var err error
				for err = ErrContended; errors.Is(err, ErrContended); {
					err = b.PutIfAbsent(t.Context(), key, []byte(data))
				}
				if err == nil {
					won.Add(1)
					winner.Store(data)
				} else if !errors.Is(err, ErrExist) {
					t.Errorf("loser: %v", err)
				}
			})
		}
		wg.Wait()
		if n := won.Load(); n != 1 {
			t.Fatalf("%s has %d winners", key, n)
		}
		if got := must(readAll(t.Context(), b, key))(t); string(got) != winner.Load() {
			t.Errorf("%s does not hold the winner's bytes", key)
		}
	}
}

func conformFile(t *testing.T, b Bucket) {
	local := filepath.Join(t.TempDir(), "f")
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	if err := os.WriteFile(local, data, 0o644); err != nil {
		t.Fatal(err)
	}
	for try := range 2 {
		if err := b.PutFile(t.Context(), "t/part-1.parquet", local); err != nil {
			t.Fatalf("attempt %d: %v", try, err)
		}
	}
	if err := os.Remove(local); err != nil {
		t.Fatalf("the local file is the caller's: %v", err)
	}
	if got := must(readAll(t.Context(), b, "t/part-1.parquet"))(t); !bytes.Equal(got, data) {
		t.Error("other bytes came back")
	}
	if err := os.WriteFile(local, []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := b.PutFile(t.Context(), "t/part-1.parquet", local); !errors.Is(err, ErrExist) {
		t.Errorf("other bytes under the same key: %v", err)
	}
	if path, ok := b.LocalPath("t/part-1.parquet"); ok {
		if got := must(os.ReadFile(path))(t); !bytes.Equal(got, data) {
			t.Error("the local path holds other bytes")
		}
	}
}

// forgetful ignores the condition of a conditional write; lying also says it
// did not.
type forgetful struct {
	Bucket
	lying bool
}

func (b forgetful) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	if err := b.Put(ctx, key, data); err != nil || !b.lying || string(data) == "first" {
		return err
	}
	return ErrExist
}

func TestStoreWithoutConditionalWritesIsRefused(t *testing.T) {
	for _, lying := range []bool{false, true} {
		_, err := Open(t.Context(), forgetful{NewMemoryBucket(), lying}, Config{CacheDir: t.TempDir()})
		if err == nil || !strings.Contains(err.Error(), "use ") {
			t.Errorf("lying %t: %v", lying, err)
		}
	}
}

func TestOpenBucketNamesTheMistake(t *testing.T) {
	for url, want := range map[string]string{"s3://": "no bucket name", "gs://x": "unknown scheme", "s3://absent": "create it first"} {
		if b, err := OpenBucket(t.Context(), url, s3); err == nil || b != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", url, b, err)
		}
	}
}
