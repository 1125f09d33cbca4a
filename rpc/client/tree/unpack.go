package tree

import (
	"archive/tar"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// ErrOutside means that a stream names something outside the directory it is for.
var ErrOutside = errors.New("it leads out of the directory")

// Unpack writes the tree that r holds below root. Links that lead out of it, and what is neither file, directory nor
// link, are left out and named to skip.
func Unpack(root *os.Root, r io.Reader, skip func(name, why string)) error {
	u := &unpacker{root: root, skip: skip, closed: map[string]fs.FileMode{}}
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return u.finish()
		}
		if err != nil {
			return fmt.Errorf("unpack: %w", err)
		}
		if err := u.one(h, in); err != nil {
			return fmt.Errorf("unpack %q: %w", h.Name, err)
		}
	}
}

type unpacker struct {
	root   *os.Root
	skip   func(name, why string)
	closed map[string]fs.FileMode // directories that get modes in which they could not be filled
}

func (u *unpacker) one(h *tar.Header, content io.Reader) error {
	name := path.Clean(strings.TrimSuffix(h.Name, "/"))
	if !filepath.IsLocal(name) || strings.ContainsRune(h.Name, 0) {
		return ErrOutside
	}
	if err := u.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	mode := fs.FileMode(h.Mode) & 0o777
	switch h.Typeflag {
	case tar.TypeDir:
		return u.dir(name, mode)
	case tar.TypeReg:
		return WriteFile(u.root, name, mode, content, func(f *os.File, temporary string) error {
			return u.root.Chtimes(temporary, h.ModTime, h.ModTime)
		})
	case tar.TypeSymlink:
		//nolint:gosec // G305: it is checked here, and nothing is opened by that path
		if path.IsAbs(h.Linkname) || !filepath.IsLocal(path.Join(path.Dir(name), h.Linkname)) {
			u.skip(name, "a link out of the directory")
			return nil
		}
		return u.replace(name, func() error { return u.root.Symlink(h.Linkname, name) })
	case tar.TypeLink:
		old := path.Clean(h.Linkname)
		if !filepath.IsLocal(old) {
			return ErrOutside
		}
		return u.replace(name, func() error { return u.root.Link(old, name) })
	}
	u.skip(name, "it is no file, directory or link")
	return nil
}

func (u *unpacker) dir(name string, mode fs.FileMode) error {
	if name == "." {
		return nil
	}
	if err := u.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if st, err := u.root.Lstat(name); err != nil || !st.IsDir() {
		return errors.Join(err, errors.New("something else is in the place of the directory"))
	}
	if mode&0o700 != 0o700 {
		u.closed[name] = mode
		mode |= 0o700
	}
	return u.root.Chmod(name, mode)
}

// replace makes a link in the place of what is no directory.
func (u *unpacker) replace(name string, link func() error) error {
	if st, err := u.root.Lstat(name); err == nil && !st.IsDir() {
		if err := u.root.Remove(name); err != nil {
			return err
		}
	}
	return link()
}

// finish gives directories the modes that they could not have before.
func (u *unpacker) finish() error {
	var errs []error
	for name, mode := range u.closed {
		errs = append(errs, u.root.Chmod(name, mode))
	}
	return errors.Join(errs...)
}

// WriteFile writes a file below root from content. It has another name until it is whole; then finish may do more to it,
// under that name, before it gets its own.
func WriteFile(root *os.Root, name string, mode fs.FileMode, content io.Reader, finish func(f *os.File, temporary string) error) (err error) {
	temporary := path.Join(path.Dir(name), ".soulbox-"+rand.Text()[:16])
	f, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, root.Remove(temporary))
		}
	}()
	_, err = io.Copy(f, content)
	if err == nil {
		err = f.Chmod(mode & 0o777)
	}
	if err == nil && finish != nil {
		err = finish(f, temporary)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return root.Rename(temporary, name)
}
