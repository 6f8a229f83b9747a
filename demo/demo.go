// Package demo is the project that the program brings along: card payments, three
// views of them, and a Generator that makes the payments up. It is pure: it asks
// no clock, opens no connection, and the same seed makes the same payments.
package demo

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Stream is the stream that the generated payments belong to.
const Stream = "payments"

//go:embed tailwater.yaml streams/*.sql views/*.sql queries/*.sql
var files embed.FS

// WriteProject makes the project's folder unless there is one. What is there
// stays: whoever edits a view there sees it after the next start.
func WriteProject(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// A folder of half the files would be taken for the user's own: it gets its
	// name when it is whole.
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("make the demo's project: %w", err)
	}
	half, err := os.MkdirTemp(parent, ".project-")
	if err != nil {
		return fmt.Errorf("make the demo's project: %w", err)
	}
	defer os.RemoveAll(half)
	if err := os.CopyFS(half, files); err != nil {
		return fmt.Errorf("make the demo's project: %w", err)
	}
	if err := errors.Join(os.Chmod(half, 0o755), os.Rename(half, dir)); err != nil {
		return fmt.Errorf("make the demo's project: %w", err)
	}
	return nil
}
