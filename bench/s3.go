package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"

	"github.com/tailwater/tailwater/lake"
)

// serveS3 starts an S3 server over a directory, with the bucket lake. It runs to the
// end of this process, which may have one alone; it does not sync what it stores.
func serveS3(ctx context.Context, dir string) (lake.S3Options, error) {
	options := lake.S3Options{AccessKey: "access", SecretKey: "secret-key"}
	data, side := filepath.Join(dir, "data"), filepath.Join(dir, "meta")
	if err := errors.Join(os.MkdirAll(filepath.Join(data, "lake"), 0o755), os.MkdirAll(side, 0o755)); err != nil {
		return options, err
	}
	// It prints where it keeps what; standard output is for the results.
	quiet, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return options, err
	}
	defer quiet.Close()
	defer func(out *os.File) { os.Stdout = out }(os.Stdout)
	os.Stdout = quiet
	store, err := meta.NewSideCar(side)
	if err != nil {
		return options, err
	}
	be, err := posix.New(data, store, posix.PosixOpts{SideCarDir: side, Concurrency: 64})
	if err != nil {
		return options, err
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return options, err
	}
	addr := free.Addr().String()
	free.Close()
	options.Endpoint = "http://" + addr
	failed := make(chan error, 1)
	go func() {
		failed <- embedgw.RunVersityGW(ctx, be, &embedgw.Config{
			RootUserAccess: options.AccessKey, RootUserSecret: options.SecretKey, Region: "us-east-1", Ports: []string{addr},
			MaxConnections: 1000, MaxRequests: 500, MultipartMaxParts: 10000, Quiet: true, KeepAlive: true, IAMDir: side, IAMCacheDisable: true, // its pruner would spin
		})
	}()
	return options, until(ctx, 5*time.Second, 25*time.Millisecond, func() (bool, error) {
		select {
		case err := <-failed:
			return false, fmt.Errorf("s3 server ended: %w", err)
		default:
		}
		b, err := lake.OpenBucket(ctx, "s3://lake", options)
		if err != nil {
			return false, nil
		}
		_, err = lake.Open(ctx, b, lake.Config{CacheDir: filepath.Join(dir, "cache")})
		return err == nil, nil
	})
}
