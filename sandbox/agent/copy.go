package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/soulbox/soulbox/sandbox/agent/fsys"
)

var errCopyBounds = errors.New("the tree exceeds the bounds of the copy")

// copier copies one work directory into another.
type copier struct {
	to                *slot
	bytes, files      int64
	maxBytes, maxFile int64
}

// copyTree copies the tree of from, whose processes are dead, to to, which has not run yet. Both are locked.
func copyTree(from, to *slot, maxBytes, maxFiles int64) (bytes, files int64, err error) {
	if from.state == stateRunning || to.state != statePrepared {
		return 0, 0, fmt.Errorf("copy tree: %w", errState)
	}
	c := &copier{to: to, maxBytes: maxBytes, maxFile: maxFiles}
	err = c.dir(from.work, ".", 0)
	return c.bytes, c.files, err
}

// dir copies the entries of root, which is at the path at.
func (c *copier) dir(root *os.Root, at string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("copy %s: deeper than %d directories: %w", at, maxDepth, errCopyBounds)
	}
	d, err := root.Open(".")
	if err != nil {
		return fmt.Errorf("open directory %s: %w", at, err)
	}
	defer d.Close()
	for {
		// In batches: a directory of the program's can hold any number of names.
		entries, err := d.ReadDir(256)
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read directory %s: %w", at, err)
		}
		for _, e := range entries {
			if err := c.entry(root, d, e, path.Join(at, e.Name()), depth); err != nil {
				return err
			}
		}
	}
}

// entry copies one entry of root, which dir is open on, to the path at.
func (c *copier) entry(root *os.Root, dir *os.File, e fs.DirEntry, at string, depth int) error {
	switch e.Type() {
	case 0, fs.ModeDir, fs.ModeSymlink:
	default:
		return nil // devices, sockets and FIFOs do not travel
	}
	if c.files++; c.files > c.maxFile {
		return fmt.Errorf("copy %s: more than %d files: %w", at, c.maxFile, errCopyBounds)
	}
	switch e.Type() {
	case fs.ModeDir:
		return c.subdir(root, e, at, depth)
	case fs.ModeSymlink:
		target, err := root.Readlink(e.Name())
		if err != nil {
			return fmt.Errorf("read link %s: %w", at, err)
		}
		if err := c.to.work.Symlink(target, at); err != nil {
			return fmt.Errorf("make link %s: %w", at, err)
		}
		if err := c.to.work.Lchown(at, c.to.uid, c.to.gid); err != nil {
			return fmt.Errorf("own link %s: %w", at, err)
		}
		return nil
	default:
		return c.file(dir, e.Name(), at)
	}
}

func (c *copier) subdir(root *os.Root, e fs.DirEntry, at string, depth int) error {
	info, err := e.Info()
	if err != nil {
		return fmt.Errorf("stat directory %s: %w", at, err)
	}
	sub, err := root.OpenRoot(e.Name())
	if err != nil {
		return fmt.Errorf("open directory %s: %w", at, err)
	}
	defer sub.Close()
	if err := c.to.work.Mkdir(at, 0o700); err != nil {
		return fmt.Errorf("make directory %s: %w", at, err)
	}
	if err := c.dir(sub, at, depth+1); err != nil {
		return err
	}
	if err := errors.Join(c.to.work.Chown(at, c.to.uid, c.to.gid), c.to.work.Chmod(at, info.Mode().Perm())); err != nil {
		return fmt.Errorf("own directory %s: %w", at, err)
	}
	return nil
}

func (c *copier) file(dir *os.File, name, at string) error {
	r, err := fsys.OpenRegular(dir, name)
	if err != nil {
		return err
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		return fmt.Errorf("stat %s: %w", at, err)
	}
	// By size, not by what is allocated: a file with a hole is copied without it.
	if info.Size() > c.maxBytes-c.bytes {
		return fmt.Errorf("copy %s: more than %d bytes: %w", at, c.maxBytes, errCopyBounds)
	}
	w, err := c.to.create(at, info.Mode().Perm())
	if err != nil {
		return err
	}
	n, err := io.Copy(w, io.LimitReader(r, c.maxBytes-c.bytes))
	c.bytes += n
	if err := errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("copy %s: %w", at, err)
	}
	return nil
}
