package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// files does the file operations on control groups, so that tests can have any of them fail.
type files struct {
	before func(op, path string) error // called before each operation; its error is the operation's; nil in production
}

func (f files) check(op, path string) error {
	if f.before == nil {
		return nil
	}
	return f.before(op, path)
}

// mkdir makes one group. It must not be there yet.
func (f files) mkdir(dir string) error {
	if err := f.check("mkdir", dir); err != nil {
		return fmt.Errorf("make group %s: %w", dir, err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("make group: %w", err)
	}
	return nil
}

// ensure makes a group that may be there already and reports whether it made it.
func (f files) ensure(dir string) (made bool, err error) {
	err = f.mkdir(dir)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}

// rmdir removes an empty group. One that is gone is fine.
func (f files) rmdir(dir string) error {
	err := f.check("rmdir", dir)
	if err == nil {
		err = rmdir(dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove group %s: %w", dir, err)
	}
	return nil
}

// rmdir is the bare system call. os.Remove would try unlink first and hide the error that tells why.
func rmdir(dir string) error {
	for {
		err := unix.Rmdir(dir)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
		}
	}
}

// write writes value in one call to an existing file of a group.
func (f files) write(dir, name, value string) error {
	file, err := f.open(dir, name, os.O_WRONLY)
	if err != nil {
		return err
	}
	_, err = file.WriteString(value)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("write %q to %s of %s: %w", value, name, dir, err)
	}
	return nil
}

// read returns the content of a group's file without the white space around it.
func (f files) read(dir, name string) (string, error) {
	path := filepath.Join(dir, name)
	if err := f.check("read", path); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read group's file: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// open opens a group's file; the caller closes it.
func (f files) open(dir, name string, flag int) (*os.File, error) {
	path := filepath.Join(dir, name)
	if err := f.check("open", path); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	file, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return nil, fmt.Errorf("open group's file: %w", err)
	}
	return file, nil
}

// children returns the names of the groups directly below dir, none when dir is gone.
func (f files) children(dir string) ([]string, error) {
	if err := f.check("list", dir); err != nil {
		return nil, fmt.Errorf("list groups in %s: %w", dir, err)
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
