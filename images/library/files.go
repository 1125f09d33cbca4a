package library

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// writeWhole writes a small file of the library, all of it or nothing, and has it on disk when it returns.
func (l *Library) writeWhole(name string, data []byte) (err error) {
	f, err := os.CreateTemp(l.path(tmpDir), "write-")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return l.place(f.Name(), name)
}

// place moves what was written, and is on disk, to where it is found.
func (l *Library) place(from, name string) error {
	to := l.path(name)
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("place %s: %w", name, err)
	}
	return syncDir(filepath.Dir(to))
}

// syncDir has the names in a directory on disk.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// syncTree has all that was written to the file system of dir on disk: one call for a whole tree.
func syncTree(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync tree: %w", err)
	}
	if err := errors.Join(unix.Syncfs(int(f.Fd())), f.Close()); err != nil {
		return fmt.Errorf("sync tree %s: %w", dir, err)
	}
	return nil
}

// exists tells whether something lies at path.
func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", path, err)
	}
	return true, nil
}
