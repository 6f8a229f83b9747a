package lake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
)

// MemoryBucket keeps objects in memory. It is a full Bucket, and it asserts what
// callers owe: it refuses the overwriting of a data file, and a key that is no
// clean relative path. It can fail on demand.
type MemoryBucket struct {
	mu      sync.Mutex
	objects map[string][]byte
	fault   func(Op) Fault
}

// An Op is a call that a MemoryBucket is about to serve.
type Op struct {
	Method string // "PutFile", "Put", "PutIfAbsent", "Get", "Size", "List", "Delete"
	Key    string
}

// A Fault is how a call goes wrong.
type Fault uint8

// The faults. A write that fails ambiguously wraps ErrAmbiguous.
const (
	NoFault         Fault = iota
	Fail                  // an error, nothing happened
	FailAmbiguous         // an ambiguous error, nothing happened
	FailPersisted         // an ambiguous error, but the write happened
	RefuseContended       // ErrContended, nothing happened
)

var errInjected = errors.New("injected failure of the store")

// NewMemoryBucket makes an empty bucket.
func NewMemoryBucket() *MemoryBucket { return &MemoryBucket{objects: map[string][]byte{}} }

// Inject makes f decide on every later call; nil ends that. f is called with the
// bucket locked, in the order of the calls.
func (b *MemoryBucket) Inject(f func(Op) Fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault = f
}

// begin locks the bucket and decides how the call ends: do says whether it takes
// effect, err what it then returns.
func (b *MemoryBucket) begin(ctx context.Context, method, key string) (do bool, err error) {
	b.mu.Lock()
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if method != "List" && (key == "" || strings.HasPrefix(key, "/") || strings.Contains(key, "//") || strings.Contains(key, "..")) {
		return false, fmt.Errorf("%s: %q is not a key", method, key)
	}
	if b.fault == nil {
		return true, nil
	}
	switch b.fault(Op{method, key}) {
	case Fail:
		return false, fmt.Errorf("%s %s: %w", method, key, errInjected)
	case FailAmbiguous:
		return false, fmt.Errorf("%s %s: %w: %w", method, key, ErrAmbiguous, errInjected)
	case FailPersisted:
		return true, fmt.Errorf("%s %s: %w: %w", method, key, ErrAmbiguous, errInjected)
	case RefuseContended:
		return false, fmt.Errorf("%s %s: %w", method, key, ErrContended)
	}
	return true, nil
}

// LocalPath says that there are no files.
func (b *MemoryBucket) LocalPath(string) (string, bool) { return "", false }

// PutFile stores a copy of the file, and refuses other bytes under the same key.
func (b *MemoryBucket) PutFile(ctx context.Context, key, local string) error {
	data, readErr := os.ReadFile(local)
	do, err := b.begin(ctx, "PutFile", key)
	defer b.mu.Unlock()
	if readErr != nil {
		return fmt.Errorf("put %s: %w", key, readErr)
	}
	if !do {
		return err
	}
	if old, ok := b.objects[key]; ok && !bytes.Equal(old, data) {
		return fmt.Errorf("put %s: a data file would be overwritten: %w", key, ErrExist)
	}
	b.objects[key] = data
	return err
}

// Put stores a copy of data.
func (b *MemoryBucket) Put(ctx context.Context, key string, data []byte) error {
	do, err := b.begin(ctx, "Put", key)
	defer b.mu.Unlock()
	if do {
		b.objects[key] = bytes.Clone(data)
	}
	return err
}

// PutIfAbsent stores a copy of data if the key is free.
func (b *MemoryBucket) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	do, err := b.begin(ctx, "PutIfAbsent", key)
	defer b.mu.Unlock()
	if !do {
		return err
	}
	if _, ok := b.objects[key]; ok {
		if err != nil {
			return err // the answer is lost, whatever it was
		}
		return fmt.Errorf("put %s: %w", key, ErrExist)
	}
	b.objects[key] = bytes.Clone(data)
	return err
}

// Get opens an object.
func (b *MemoryBucket) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	_, err := b.begin(ctx, "Get", key)
	defer b.mu.Unlock()
	if err != nil {
		return nil, err
	}
	data, ok := b.objects[key]
	if !ok {
		return nil, fmt.Errorf("get %s: %w", key, ErrNotExist)
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// Size gives an object's size.
func (b *MemoryBucket) Size(ctx context.Context, key string) (int64, error) {
	_, err := b.begin(ctx, "Size", key)
	defer b.mu.Unlock()
	if err != nil {
		return 0, err
	}
	data, ok := b.objects[key]
	if !ok {
		return 0, fmt.Errorf("size of %s: %w", key, ErrNotExist)
	}
	return int64(len(data)), nil
}

// List yields what was there when the listing began.
func (b *MemoryBucket) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		_, err := b.begin(ctx, "List", prefix)
		var found []Object
		for _, key := range slices.Sorted(maps.Keys(b.objects)) {
			if strings.HasPrefix(key, prefix) && key > startAfter {
				found = append(found, Object{key, int64(len(b.objects[key]))})
			}
		}
		b.mu.Unlock()
		if err != nil {
			yield(Object{}, err)
			return
		}
		for _, o := range found {
			if !yield(o, nil) {
				return
			}
		}
	}
}

// Delete removes an object.
func (b *MemoryBucket) Delete(ctx context.Context, key string) error {
	do, err := b.begin(ctx, "Delete", key)
	defer b.mu.Unlock()
	if do {
		delete(b.objects, key)
	}
	return err
}
