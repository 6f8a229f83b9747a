package lake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
)

// What a Bucket's methods return, wrapped with the key.
var (
	// ErrNotExist says that there is no object with the key.
	ErrNotExist = errors.New("object does not exist")
	// ErrExist says that there is an object with the key, and that the call
	// did not change it.
	ErrExist = errors.New("object exists already")
	// ErrAmbiguous says that a write may or may not have happened, or may
	// still happen: a timeout, a broken connection, a server's error.
	ErrAmbiguous = errors.New("outcome of the write is unknown")
	// ErrContended says that the store wrote nothing because another write of
	// the key was under way (S3's 409 ConditionalRequestConflict); try again.
	ErrContended = errors.New("another write of the object is under way")
)

// An Object is one entry of a listing.
type Object struct {
	Key  string
	Size int64 // bytes
}

// A Bucket keeps bytes by key. Keys are relative paths with forward slashes.
//
// Durability: when a write returns nil the object is stored for good, and every
// later Get, Size and List of any client sees it whole. No reader ever sees a
// part of an object.
//
// Retries: none. Every method makes one attempt; the caller knows whether a
// second one is safe.
//
// Concurrency: all methods may be called from several goroutines and processes.
type Bucket interface {
	// PutFile stores the finished local file under a key that no other content
	// will ever have; the same bytes may be put there again. It may link the
	// file instead of copying it: do not write to the file afterwards. The
	// local name stays. Any error may mean that the object was stored.
	PutFile(ctx context.Context, key, local string) error

	// Put stores data, in place of what may be there. It is for hints that a
	// reader can do without. Any error may mean that the object was stored.
	Put(ctx context.Context, key string, data []byte) error

	// PutIfAbsent stores data if there is no object with the key, as one
	// atomic step among all clients: it is the commit point. It returns
	// ErrExist if there is one, ErrContended if nothing was written and
	// nobody has won yet, and ErrAmbiguous if the outcome is unknown. After any
	// other error nothing was written.
	PutIfAbsent(ctx context.Context, key string, data []byte) error

	// Get opens an object; ErrNotExist if there is none.
	Get(ctx context.Context, key string) (io.ReadCloser, error)

	// Size gives an object's size in bytes; ErrNotExist if there is none.
	Size(ctx context.Context, key string) (int64, error)

	// List yields the objects whose keys begin with prefix and sort after
	// startAfter, in byte order. An error ends the listing.
	List(ctx context.Context, prefix, startAfter string) iter.Seq2[Object, error]

	// Delete removes an object; that there is none is not an error.
	Delete(ctx context.Context, key string) error

	// LocalPath gives the file that holds the object, if the bucket is a
	// local directory.
	LocalPath(key string) (string, bool)
}

// S3Options tell how to reach an S3-compatible store.
type S3Options struct {
	Endpoint  string // host[:port], or a URL whose scheme then decides on TLS; empty means AWS
	Region    string // empty means us-east-1
	AccessKey string
	SecretKey string
	Insecure  bool // plain HTTP, for an Endpoint without a scheme
}

// OpenBucket opens the store that url names: s3://bucket[/prefix], or a
// directory, which is made if it is missing. It does not check that a store
// honours PutIfAbsent: Open does.
func OpenBucket(ctx context.Context, url string, o S3Options) (Bucket, error) {
	if rest, ok := strings.CutPrefix(url, "s3://"); ok {
		name, prefix, _ := strings.Cut(rest, "/")
		if name == "" {
			return nil, fmt.Errorf("lake %q: no bucket name; write s3://bucket/prefix", url)
		}
		b, err := newS3Bucket(ctx, name, strings.Trim(prefix, "/"), o)
		if err != nil {
			return nil, err
		}
		return b, nil
	}
	if strings.Contains(url, "://") {
		return nil, fmt.Errorf("lake %q: unknown scheme; write a directory or s3://bucket/prefix", url)
	}
	b, err := NewDirBucket(url)
	if err != nil {
		return nil, err
	}
	return b, nil
}
