package lake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// s3Patience is how long the store may take to begin an answer. 60 s is what
// slow stores need for the last byte of a 128 MB upload; without a bound a
// dead connection would hold the committer for ever.
const s3Patience = 60 * time.Second

// S3Bucket keeps objects below a prefix of a bucket of an S3-compatible store.
// The SDK's own retries are off: a retried conditional write that had succeeded
// would answer 412, and only the committer can tell that from a lost race.
type S3Bucket struct {
	client *minio.Client
	bucket string
	prefix string // empty, or ends with a slash
}

func newS3Bucket(ctx context.Context, name, prefix string, o S3Options) (*S3Bucket, error) {
	endpoint, secure := o.Endpoint, !o.Insecure
	if endpoint == "" {
		endpoint = "s3.amazonaws.com"
	}
	if rest, ok := strings.CutPrefix(endpoint, "http://"); ok {
		endpoint, secure = rest, false
	} else if rest, ok := strings.CutPrefix(endpoint, "https://"); ok {
		endpoint, secure = rest, true
	}
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	transport, err := minio.DefaultTransport(secure)
	if err != nil {
		return nil, fmt.Errorf("s3 transport: %w", err)
	}
	transport.ResponseHeaderTimeout = s3Patience
	client, err := minio.New(strings.TrimSuffix(endpoint, "/"), &minio.Options{
		Creds:      credentials.NewStaticV4(o.AccessKey, o.SecretKey, ""),
		Secure:     secure,
		Region:     o.Region,
		Transport:  transport,
		MaxRetries: 1, // one attempt
	})
	if err != nil {
		return nil, fmt.Errorf("s3 endpoint %q: %w", o.Endpoint, err)
	}
	ok, err := client.BucketExists(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("s3 bucket %q at %s (check the endpoint, region and keys): %w", name, endpoint, err)
	}
	if !ok {
		return nil, fmt.Errorf("s3 bucket %q at %s does not exist; create it first", name, endpoint)
	}
	if prefix != "" {
		prefix += "/"
	}
	return &S3Bucket{client: client, bucket: name, prefix: prefix}, nil
}

// LocalPath says that there are no files.
func (b *S3Bucket) LocalPath(string) (string, bool) { return "", false }

// PutFile uploads the file in one PUT.
func (b *S3Bucket) PutFile(ctx context.Context, key, local string) error {
	f, err := os.Open(local)
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	// The name is made of random bits: what is there is what an earlier attempt of
	// the same put left. It is asked for beforehand, because a server may cut the
	// connection in the middle of a large upload that it refuses.
	size, err := b.Size(ctx, key)
	switch {
	case err == nil && size == info.Size():
		return nil
	case err == nil:
		return fmt.Errorf("put %s: %d bytes are there already, not the file's %d: %w", key, size, info.Size(), ErrExist)
	case !errors.Is(err, ErrNotExist):
		return fmt.Errorf("put %s: %w", key, err)
	}
	opts := minio.PutObjectOptions{DisableMultipart: true, ContentType: "application/vnd.apache.parquet"}
	opts.SetMatchETagExcept("*")
	if _, err = b.client.PutObject(ctx, b.bucket, b.prefix+key, f, info.Size(), opts); err != nil {
		return fmt.Errorf("put %s: %w", key, writeError(err))
	}
	return nil
}

// Put replaces the object.
func (b *S3Bucket) Put(ctx context.Context, key string, data []byte) error {
	opts := minio.PutObjectOptions{DisableMultipart: true}
	_, err := b.client.PutObject(ctx, b.bucket, b.prefix+key, bytes.NewReader(data), int64(len(data)), opts)
	if err != nil {
		return fmt.Errorf("put %s: %w", key, writeError(err))
	}
	return nil
}

// PutIfAbsent is one PUT with If-None-Match: *. It must be a single one: the
// client drops the condition from multipart uploads.
func (b *S3Bucket) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	opts := minio.PutObjectOptions{DisableMultipart: true, ContentType: "application/json"}
	opts.SetMatchETagExcept("*")
	_, err := b.client.PutObject(ctx, b.bucket, b.prefix+key, bytes.NewReader(data), int64(len(data)), opts)
	if err != nil {
		return fmt.Errorf("put %s: %w", key, writeError(err))
	}
	return nil
}

// writeError sorts a write's error by what it says about the object. A status of
// 4xx is a refusal; anything else leaves the outcome open.
func writeError(err error) error {
	if err == nil {
		return nil
	}
	switch status := minio.ToErrorResponse(err).StatusCode; {
	case status == http.StatusPreconditionFailed:
		return fmt.Errorf("%w: %w", ErrExist, err)
	case status == http.StatusConflict:
		return fmt.Errorf("%w: %w", ErrContended, err)
	case status == http.StatusRequestTimeout || status < 400 || status >= 500:
		return fmt.Errorf("%w: %w", ErrAmbiguous, err)
	}
	return err
}

func readError(err error) error {
	r := minio.ToErrorResponse(err)
	if r.Code == minio.NoSuchKey || r.StatusCode == http.StatusNotFound && r.Code != minio.NoSuchBucket {
		return ErrNotExist
	}
	return err
}

// Get opens an object; the first byte's error is found here, not at Read.
func (b *S3Bucket) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	core := minio.Core{Client: b.client}
	r, _, _, err := core.GetObject(ctx, b.bucket, b.prefix+key, minio.GetObjectOptions{})
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, readError(err))
	}
	return r, nil
}

// Size asks with a HEAD.
func (b *S3Bucket) Size(ctx context.Context, key string) (int64, error) {
	info, err := b.client.StatObject(ctx, b.bucket, b.prefix+key, minio.StatObjectOptions{})
	if err != nil {
		return 0, fmt.Errorf("size of %s: %w", key, readError(err))
	}
	return info.Size, nil
}

// List pages through ListObjectsV2, whose order is that of the keys' bytes.
func (b *S3Bucket) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // ends the client's goroutine when the caller stops early
		opts := minio.ListObjectsOptions{Prefix: b.prefix + prefix, Recursive: true}
		if startAfter != "" {
			opts.StartAfter = b.prefix + startAfter
		}
		for o := range b.client.ListObjectsIter(ctx, b.bucket, opts) {
			if o.Err != nil {
				yield(Object{}, fmt.Errorf("list %s: %w", prefix, o.Err))
				return
			}
			if !yield(Object{strings.TrimPrefix(o.Key, b.prefix), o.Size}, nil) {
				return
			}
		}
	}
}

// Delete removes an object.
func (b *S3Bucket) Delete(ctx context.Context, key string) error {
	if err := b.client.RemoveObject(ctx, b.bucket, b.prefix+key, minio.RemoveObjectOptions{}); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}
