package tree

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Pack writes the tree at dir to w, with names relative to it: directories, files and links as they are. What is
// neither is left out and named to skip.
func Pack(w io.Writer, dir string, skip func(name, why string)) error {
	out := tar.NewWriter(w)
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return fmt.Errorf("pack %s: %w", file, err)
		}
		if err := packOne(out, file, name, d, skip); err != nil {
			return fmt.Errorf("pack %s: %w", file, err)
		}
		return nil
	})
	return errors.Join(err, out.Close())
}

func packOne(out *tar.Writer, file, name string, d fs.DirEntry, skip func(name, why string)) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	target := ""
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		if target, err = os.Readlink(file); err != nil {
			return err
		}
	case !info.IsDir() && !info.Mode().IsRegular():
		skip(name, "it is no file, directory or link")
		return nil
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	h.Name = filepath.ToSlash(name)
	if info.IsDir() {
		h.Name += "/"
	}
	h.Uid, h.Gid, h.Uname, h.Gname = 0, 0, "", "" // they mean nothing there
	h.Mode &= 0o777
	if !info.Mode().IsRegular() {
		return out.WriteHeader(h)
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	// A file that grew since is copied as it was; one that shrank is an error of the writer's.
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	if _, err := io.CopyN(out, f, h.Size); err != nil {
		return fmt.Errorf("it changed while it was read: %w", err)
	}
	return nil
}

// Size adds up the files that [Pack] would copy, in bytes.
func Size(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}
