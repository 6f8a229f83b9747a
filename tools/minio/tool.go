//go:build tools

// Package minio pins the MinIO server that tests run against. It is a test tool
// alone: nothing of it is linked into Tailwater. The module is apart because
// MinIO's licence (AGPL) and its dependencies are not ours.
package minio

import _ "github.com/minio/minio"
