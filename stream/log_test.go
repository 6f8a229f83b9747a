package stream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A store is one implementation of Log under test; open gives the log of a
// name, the same one for the same name.
type store struct {
	open func(name string, maxBytes int64) Log
}

func TestLogConformance(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		logs := map[string]Log{}
		conform(t, store{func(name string, maxBytes int64) Log {
			if logs[name] == nil {
				logs[name] = NewMemoryLog(maxBytes)
			}
			return logs[name]
		}})
	})
	t.Run("embedded", func(t *testing.T) {
		conform(t, brokerStore(t, BrokerConfig{StoreDir: t.TempDir()}))
	})
	t.Run("server process", func(t *testing.T) {
		conform(t, brokerStore(t, BrokerConfig{URL: runServer(t)}))
	})
}

func brokerStore(t *testing.T, cfg BrokerConfig) store {
	cfg.Logger = quiet
	b, err := OpenBroker(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return store{func(name string, maxBytes int64) Log {
		l, err := b.Log(t.Context(), name, maxBytes)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}}
}

// runServer builds and starts the server as a process of its own.
func runServer(t *testing.T) string {
	dir := t.TempDir()
	binary := filepath.Join(dir, "nats-server")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
		t.Fatalf("build the server: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	config := filepath.Join(dir, "server.conf")
	text := fmt.Sprintf("listen: %q\nmax_payload: %d\njetstream { store_dir: %q, sync_interval: always }\n", addr, MaxMessageBytes, filepath.Join(dir, "js"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-c", config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	eventually(t, "server answers", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return "nats://" + addr
}

func conform(t *testing.T, s store) {
	t.Run("bounds of an empty log", func(t *testing.T) {
		wantBounds(t, s.open("empty", 1<<20), 1, 0)
	})
	t.Run("appends come back in order", func(t *testing.T) { conformOrder(t, s.open("ordered", 1<<20)) })
	t.Run("an id is stored once", func(t *testing.T) {
		log := s.open("once", 1<<20)
		for range 3 {
			p, err := log.Append(t.Context(), "same", []byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			if seq, err := p.Wait(t.Context()); seq != 1 || err != nil {
				t.Fatalf("got %d, %v; want 1", seq, err)
			}
		}
		wantBounds(t, log, 1, 1)
	})
	t.Run("purge", func(t *testing.T) { conformPurge(t, s.open("purged", 1<<20)) })
	t.Run("full", func(t *testing.T) { conformFull(t, s.open("full", 10_000)) })
	t.Run("too large", func(t *testing.T) {
		p, err := s.open("large", 1<<30).Append(t.Context(), "large", make([]byte, MaxMessageBytes+1))
		if err == nil {
			_, err = p.Wait(t.Context())
		}
		if !errors.Is(err, ErrTooLarge) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a large message", func(t *testing.T) {
		log := s.open("big", 1<<30)
		seq := appendTo(t, log, make([]byte, 4<<20))
		if m, err := log.Get(t.Context(), seq); err != nil || len(m.Data) != 4<<20 {
			t.Errorf("got %d bytes, %v", len(m.Data), err)
		}
	})
	t.Run("subscribers follow the head", func(t *testing.T) { conformFollow(t, s.open("followed", 1<<20)) })
	t.Run("reopening finds what is there", func(t *testing.T) {
		seq := appendTo(t, s.open("again", 1<<20), []byte("x"))
		wantBounds(t, s.open("again", 1<<20), seq, seq)
	})
	t.Run("a cancelled context", func(t *testing.T) {
		log := s.open("cancelled", 1<<20)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := log.Append(ctx, "x", []byte("x")); !errors.Is(err, context.Canceled) {
			t.Errorf("append: %v", err)
		}
		if err := log.Subscribe(ctx, 0, func(Message) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("subscribe: %v", err)
		}
	})
}

func wantBounds(t *testing.T, log Log, first, last uint64) {
	t.Helper()
	f, l, err := log.Bounds(t.Context())
	if err != nil || f != first || l != last {
		t.Errorf("bounds: got %d, %d, %v; want %d, %d", f, l, err, first, last)
	}
}

// readAll gives the messages after a position, until the one at through.
func readAll(t *testing.T, log Log, after, through uint64) []string {
	t.Helper()
	var out []string
	err := log.Subscribe(t.Context(), after, func(m Message) error {
		out = append(out, fmt.Sprintf("%d:%s", m.Seq, m.Data))
		if m.Stamp.IsZero() {
			t.Errorf("message %d has no time", m.Seq)
		}
		if m.Seq >= through {
			return io.EOF
		}
		return nil
	})
	if err != io.EOF {
		t.Fatalf("subscribe: got %v, want yield's error as it is", err)
	}
	return out
}

func conformOrder(t *testing.T, log Log) {
	var pending []Pending
	for i := range 50 {
		p, err := log.Append(t.Context(), fmt.Sprint("id", i), []byte(fmt.Sprint("m", i)))
		if err != nil {
			t.Fatal(err)
		}
		pending = append(pending, p)
	}
	for i, p := range pending {
		if seq, err := p.Wait(t.Context()); err != nil || seq != uint64(i+1) {
			t.Fatalf("append %d: got %d, %v", i, seq, err)
		}
	}
	wantBounds(t, log, 1, 50)
	if got := readAll(t, log, 47, 50); !slices.Equal(got, []string{"48:m47", "49:m48", "50:m49"}) {
		t.Errorf("got %v", got)
	}
	if got := readAll(t, log, 0, 50); len(got) != 50 {
		t.Errorf("got %d messages", len(got))
	}
	if m, err := log.Get(t.Context(), 7); err != nil || string(m.Data) != "m6" || m.Seq != 7 {
		t.Errorf("get 7: got %q, %v", m.Data, err)
	}
	for _, seq := range []uint64{0, 51} {
		if _, err := log.Get(t.Context(), seq); !errors.Is(err, ErrNotExist) {
			t.Errorf("get %d: got %v", seq, err)
		}
	}
}

func conformPurge(t *testing.T, log Log) {
	for i := range 10 {
		appendTo(t, log, []byte(fmt.Sprint("m", i)))
	}
	for range 2 {
		if err := log.Purge(t.Context(), 4); err != nil {
			t.Fatal(err)
		}
		wantBounds(t, log, 5, 10)
	}
	if _, err := log.Get(t.Context(), 4); !errors.Is(err, ErrNotExist) {
		t.Errorf("get 4: got %v", err)
	}
	if m, err := log.Next(t.Context(), 0); err != nil || m.Seq != 5 {
		t.Errorf("next after 0: got %d, %v", m.Seq, err)
	}
	if got := readAll(t, log, 0, 10); got[0] != "5:m4" {
		t.Errorf("got %v", got)
	}
	if err := log.Purge(t.Context(), 1000); err != nil {
		t.Fatal(err)
	}
	wantBounds(t, log, 11, 10)
	if _, err := log.Next(t.Context(), 0); !errors.Is(err, ErrNotExist) {
		t.Errorf("next in an empty log: got %v", err)
	}
	if seq := appendTo(t, log, []byte("x")); seq != 11 {
		t.Errorf("after a purge of everything: got %d", seq)
	}
}

func conformFull(t *testing.T, log Log) {
	var err error
	stored := uint64(0)
	for i := 0; err == nil && i < 100; i++ {
		var p Pending
		if p, err = log.Append(t.Context(), fmt.Sprint("f", i), make([]byte, 1000)); err != nil {
			break
		}
		if _, err = p.Wait(t.Context()); err == nil {
			stored++
		}
	}
	var full *FullError
	if !errors.Is(err, ErrFull) || !errors.As(err, &full) || full.RetryAfter() <= 0 {
		t.Fatalf("got %v after %d messages", err, stored)
	}
	wantBounds(t, log, 1, stored)
	if err := log.Purge(t.Context(), stored/2); err != nil {
		t.Fatal(err)
	}
	if seq := appendTo(t, log, make([]byte, 1000)); seq != stored+1 {
		t.Errorf("after a purge: got %d, want %d", seq, stored+1)
	}
}

func conformFollow(t *testing.T, log Log) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen, done := make(chan uint64), make(chan error, 1)
	go func() {
		done <- log.Subscribe(ctx, 0, func(m Message) error { seen <- m.Seq; return nil })
	}()
	for i := range uint64(5) {
		appendTo(t, log, []byte("x"))
		if got := <-seen; got != i+1 {
			t.Fatalf("got %d, want %d", got, i+1)
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// writeUntilKilled is the child process of TestAcknowledgedSurvivesKill: it
// publishes for ever and prints what was acknowledged.
func writeUntilKilled(dir string) {
	ctx := context.Background()
	b, err := OpenBroker(ctx, BrokerConfig{StoreDir: dir, Logger: quiet})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	log, err := b.Log(ctx, "payments", 1<<30)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	p := NewPublisher(log, payments(), source, PublisherConfig{Logger: quiet})
	go func() { _ = p.Run(ctx) }()
	var mu sync.Mutex
	for worker := range 4 {
		go func() {
			for i := int64(worker); ; i += 4 {
				id := fmt.Sprintf("%d-%d", os.Getpid(), i)
				at, err := p.Publish(ctx, rows(i, id), nil)
				mu.Lock()
				if err != nil {
					fmt.Println("error", err)
				} else {
					fmt.Println("ack", at.Seq, at.Idx, id)
				}
				mu.Unlock()
			}
		}()
	}
	select {}
}

func TestAcknowledgedSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	type ack struct {
		seq uint64
		idx int
		id  string
	}
	var acks []ack
	for range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "STREAM_TEST_WRITER="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		killer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			f := strings.Fields(lines.Text())
			if f[0] != "ack" {
				t.Fatal(lines.Text())
			}
			seq, _ := strconv.ParseUint(f[1], 10, 64)
			idx, _ := strconv.Atoi(f[2])
			acks = append(acks, ack{seq, idx, f[3]})
			if n == 200 {
				_ = cmd.Process.Kill() // SIGKILL, while others are on their way
			}
		}
		_ = cmd.Wait()
		killer.Stop()
	}
	if len(acks) < 600 {
		t.Fatalf("only %d acknowledged", len(acks))
	}
	log := brokerStore(t, BrokerConfig{StoreDir: dir}).open("payments", 1<<30)
	d := NewDecoder(payments())
	for _, a := range acks {
		m, err := log.Get(t.Context(), a.seq)
		if err != nil {
			t.Fatalf("acknowledged %d is gone: %v", a.seq, err)
		}
		env, err := d.Decode(m.Data)
		if err != nil || env.Rows.Column(0).ValueStr(a.idx) != a.id {
			t.Fatalf("acknowledged %+v: got %v, %v", a, env, err)
		}
	}
}

func TestBrokerRefusesBadNames(t *testing.T) {
	b, err := OpenBroker(t.Context(), BrokerConfig{StoreDir: t.TempDir(), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	for _, name := range []string{"", "a.b", "a b", "*", "1a"} {
		if _, err := b.Log(t.Context(), name, 1<<20); err == nil {
			t.Errorf("%q: no error", name)
		}
	}
}
