package images

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// setuidPrograms are the programs below /usr that a session's user becomes root with, and what they insist on finding
// owned by root: of the host's own files a sandbox sees the owner as nobody, and the kernel then ignores setuid.
func setuidPrograms() map[string]fs.FileMode {
	return map[string]fs.FileMode{"bin/sudo": 0o755 | fs.ModeSetuid, "bin/su": 0o755 | fs.ModeSetuid}
}

// setuidSupport are the directories whose files go with them.
func setuidSupport() []string { return []string{"libexec/sudo", "lib/sudo"} }

// maxSetuid bounds one copied file, in bytes.
const maxSetuid = 16 << 20

// BuildSetuid copies the host's setuid programs below usr into dir, which must be empty or absent, for the owner uid, the
// sandboxes' root. It reports whether there were any. dir is a layer to put over usr.
func BuildSetuid(dir, usr string, uid int) (found bool, err error) {
	if err := emptyDir(dir); err != nil {
		return false, err
	}
	src, err := os.OpenRoot(usr)
	if err != nil {
		return false, fmt.Errorf("open host's programs: %w", err)
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	dst, err := os.OpenRoot(dir)
	if err != nil {
		return false, fmt.Errorf("open layer of setuid programs: %w", err)
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if err := dst.Chown(".", uid, uid); err != nil {
		return false, fmt.Errorf("own layer of setuid programs: %w", err)
	}
	c := setuidCopier{src: src, dst: dst, uid: uid}
	for name, mode := range setuidPrograms() {
		ok, err := c.copy(name, mode)
		if err != nil {
			return false, err
		}
		found = found || ok
	}
	if !found {
		return false, nil
	}
	for _, dir := range setuidSupport() {
		if err := c.copyAll(dir); err != nil {
			return false, err
		}
	}
	return true, nil
}

type setuidCopier struct {
	src, dst *os.Root
	uid      int
}

// copyAll copies the regular files and links of a directory, when there is one.
func (c setuidCopier) copyAll(dir string) error {
	entries, err := fs.ReadDir(c.src.FS(), filepath.ToSlash(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list host's %s: %w", dir, err)
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		switch {
		case e.Type().IsRegular():
			_, err = c.copy(name, 0o755)
		case e.Type()&fs.ModeSymlink != 0:
			err = c.link(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parents makes the directories that lead to name.
func (c setuidCopier) parents(name string) error {
	for i, r := range name {
		if r != filepath.Separator {
			continue
		}
		switch err := c.dst.Mkdir(name[:i], 0o755); {
		case errors.Is(err, fs.ErrExist):
		case err != nil:
			return fmt.Errorf("make directory: %w", err)
		default:
			if err := errors.Join(c.dst.Chmod(name[:i], 0o755), c.dst.Chown(name[:i], c.uid, c.uid)); err != nil {
				return fmt.Errorf("own directory: %w", err)
			}
		}
	}
	return nil
}

func (c setuidCopier) link(name string) error {
	target, err := c.src.Readlink(name)
	if err != nil {
		return ignoreGone(fmt.Errorf("read host's link %s: %w", name, err))
	}
	if err := errors.Join(c.parents(name), c.dst.Symlink(target, name), c.dst.Lchown(name, c.uid, c.uid)); err != nil {
		return fmt.Errorf("make link %s: %w", name, err)
	}
	return nil
}

// copy copies a regular file; false: there is none.
func (c setuidCopier) copy(name string, mode fs.FileMode) (_ bool, err error) {
	in, err := c.src.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if errors.Is(err, fs.ErrPermission) { // sudo is not everybody's to read on some hosts
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open host's %s: %w", name, err)
	}
	defer in.Close()
	if err := c.parents(name); err != nil {
		return false, err
	}
	out, err := c.dst.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false, fmt.Errorf("create %s: %w", name, err)
	}
	_, err = io.Copy(out, io.LimitReader(in, maxSetuid))
	// The mode last: a change of owner clears the bit.
	if err := errors.Join(err, out.Chown(c.uid, c.uid), out.Chmod(mode), out.Close()); err != nil {
		return false, fmt.Errorf("copy host's %s: %w", name, err)
	}
	return true, nil
}

// Layer returns r with /usr taken from the directory merged, on which setuid programs are honoured.
func (r *RootFS) Layer(merged string) *RootFS {
	out := &RootFS{Dir: r.Dir, source: r.source}
	for _, m := range r.Mounts {
		if m.Destination == "/usr" {
			m.Source, m.Options = merged, []string{"rbind", "ro", "nodev"}
		}
		out.Mounts = append(out.Mounts, m)
	}
	return out
}
