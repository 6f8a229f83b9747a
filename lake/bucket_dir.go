package lake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// tempPrefix begins the names of files that are not objects yet. A crash leaves
// them behind: a few kilobytes that no listing shows.
const tempPrefix = ".tmp-"

// DirBucket keeps each object in a file of its own. An object gets its name by
// link(2), after its bytes are on disk, so that a name never shows a part of
// them and the second of two writers finds the name taken.
type DirBucket struct{ root string }

// NewDirBucket opens a directory as a bucket, and makes it if it is missing.
func NewDirBucket(dir string) (*DirBucket, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("lake directory %q: %w", dir, err)
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, fmt.Errorf("lake directory: %w", err)
	}
	return &DirBucket{root: root}, nil
}

func (b *DirBucket) path(key string) string { return filepath.Join(b.root, filepath.FromSlash(key)) }

// LocalPath gives the object's own file.
func (b *DirBucket) LocalPath(key string) (string, bool) { return b.path(key), true }

// PutFile links the file into place; it copies only across file systems.
func (b *DirBucket) PutFile(ctx context.Context, key, local string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dst := b.path(key)
	if err := b.mkdir(filepath.Dir(dst)); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	if err := syncFile(local); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	err := os.Link(local, dst)
	if errors.Is(err, fs.ErrExist) {
		// The name is made of random bits: what is there is what an earlier
		// attempt of the same put left.
		err = sameSize(local, dst)
	} else if err != nil {
		err = b.copyFile(local, dst)
	}
	if err == nil {
		err = syncDir(filepath.Dir(dst))
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

func sameSize(local, dst string) error {
	a, err := os.Stat(local)
	if err != nil {
		return err
	}
	z, err := os.Stat(dst)
	if err != nil {
		return err
	}
	if a.Size() != z.Size() {
		return fmt.Errorf("%d bytes are there already, not the file's %d: %w", z.Size(), a.Size(), ErrExist)
	}
	return nil
}

func (b *DirBucket) copyFile(local, dst string) error {
	in, err := os.Open(local)
	if err != nil {
		return err
	}
	defer in.Close()
	temp, err := b.writeTemp(filepath.Dir(dst), in)
	if err != nil {
		return err
	}
	return os.Rename(temp, dst)
}

// writeTemp writes a synced file beside its destination.
func (b *DirBucket) writeTemp(dir string, r io.Reader) (string, error) {
	temp := filepath.Join(dir, tempPrefix+uuid.NewString())
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(temp))
	}
	return temp, nil
}

// Put replaces the object by a rename.
func (b *DirBucket) Put(ctx context.Context, key string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dst := b.path(key)
	if err := b.mkdir(filepath.Dir(dst)); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	temp, err := b.writeTemp(filepath.Dir(dst), strings.NewReader(string(data)))
	if err == nil {
		err = os.Rename(temp, dst)
	}
	if err == nil {
		err = syncDir(filepath.Dir(dst))
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

// PutIfAbsent writes and syncs a temporary file, and links it to the name.
func (b *DirBucket) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dst := b.path(key)
	if err := b.mkdir(filepath.Dir(dst)); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	temp, err := b.writeTemp(filepath.Dir(dst), strings.NewReader(string(data)))
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	err = os.Link(temp, dst)
	// A second name that stays is no harm: no listing shows it.
	_ = os.Remove(temp)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("put %s: %w", key, ErrExist)
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	if err := syncDir(filepath.Dir(dst)); err != nil {
		// The name is visible and may yet be lost with the power.
		return fmt.Errorf("put %s: %w: %w", key, ErrAmbiguous, err)
	}
	return nil
}

// Get opens the object's file.
func (b *DirBucket) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := os.Open(b.path(key))
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, notExist(err))
	}
	return f, nil
}

// Size stats the object's file.
func (b *DirBucket) Size(ctx context.Context, key string) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	info, err := os.Stat(b.path(key))
	if err != nil {
		return 0, fmt.Errorf("size of %s: %w", key, notExist(err))
	}
	return info.Size(), nil
}

func notExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotExist
	}
	return err
}

// List reads the directory that holds the prefix, and what is below it.
func (b *DirBucket) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		top := b.path(prefix[:strings.LastIndexByte(prefix, '/')+1])
		var found []Object
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // removed while we looked, or nothing there yet
			}
			if err != nil || d.IsDir() {
				return errors.Join(err, ctx.Err())
			}
			rel, err := filepath.Rel(b.root, path)
			if err != nil {
				return err
			}
			key := filepath.ToSlash(rel)
			if !strings.HasPrefix(key, prefix) || key <= startAfter || strings.HasPrefix(d.Name(), tempPrefix) {
				return nil
			}
			info, err := d.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			found = append(found, Object{key, info.Size()})
			return nil
		})
		if err != nil {
			yield(Object{}, fmt.Errorf("list %s: %w", prefix, err))
			return
		}
		// A directory's order is not the keys' order: "a/x" and "a.b".
		slices.SortFunc(found, func(x, y Object) int { return strings.Compare(x.Key, y.Key) })
		for _, o := range found {
			if !yield(o, nil) {
				return
			}
		}
	}
}

// Delete removes the object's file.
func (b *DirBucket) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Remove(b.path(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// mkdir makes a directory of the bucket so that its name survives a crash.
func (b *DirBucket) mkdir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for at := dir; at != b.root && strings.HasPrefix(at, b.root); {
		at = filepath.Dir(at)
		if err := syncDir(at); err != nil {
			return err
		}
	}
	return nil
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
