package library

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// fillTop puts into top, which lies over merged or is the same, what a sandbox needs and an image may lack: mountpoints
// that are directories whatever the image has there, and a line of /etc/passwd for its user. It returns that user's name.
func (l *Library) fillTop(merged, top, user string) (string, error) {
	from, err := os.OpenRoot(merged)
	if err != nil {
		return "", fmt.Errorf("open image: %w", err)
	}
	defer from.Close()
	to, err := os.OpenRoot(top)
	if err != nil {
		return "", fmt.Errorf("open the layer over an image: %w", err)
	}
	defer to.Close()
	t := topLayer{from: from, to: to, owner: l.o.Owner, same: merged == top}
	if err := t.copyMeta("."); err != nil {
		return "", err
	}
	for _, p := range l.o.Mountpoints {
		if err := t.directory(p); err != nil {
			return "", fmt.Errorf("make mountpoint %s: %w", p, err)
		}
	}
	passwd, err := t.read("etc/passwd")
	if err != nil {
		return "", err
	}
	name, changed := resolveUser(user, passwd)
	if changed == nil {
		return name, nil
	}
	return name, t.write("etc/passwd", changed)
}

// topLayer is what lies over an image. No path is followed through a link: in an image they lead anywhere.
type topLayer struct {
	from, to *os.Root
	owner    func(int) (int, bool)
	same     bool
}

// isDirectory tells whether p is one in the image, and so is all that leads to it.
func (t topLayer) isDirectory(p string) bool {
	for at := p; at != "."; at = path.Dir(at) {
		if info, err := t.from.Lstat(at); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

// directory makes sure that p will be a directory.
func (t topLayer) directory(p string) error {
	if t.isDirectory(p) {
		return nil
	}
	if parent := path.Dir(p); parent != "." {
		if err := t.ensure(parent); err != nil {
			return err
		}
	}
	return t.ensure(p)
}

// ensure makes p in the layer over the image: like the directory that it covers, or a new one.
func (t topLayer) ensure(p string) error {
	if parent := path.Dir(p); parent != "." {
		if err := t.ensure(parent); err != nil {
			return err
		}
	}
	covers := t.isDirectory(p)
	if t.same && covers {
		return nil
	}
	if info, err := t.to.Lstat(p); err == nil {
		if info.IsDir() {
			return nil
		}
		if err := t.to.Remove(p); err != nil { // in one tree: the image's link gives way
			return fmt.Errorf("replace %s: %w", p, err)
		}
	}
	if err := t.to.Mkdir(p, 0o755); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	if covers {
		return t.copyMeta(p)
	}
	root, _ := t.owner(0)
	mode := fs.FileMode(0o755)
	if p == "tmp" {
		mode = 0o777 | fs.ModeSticky
	}
	if err := errors.Join(t.to.Lchown(p, root, root), t.to.Chmod(p, mode)); err != nil {
		return fmt.Errorf("own directory %s: %w", p, err)
	}
	return nil
}

// copyMeta gives the directory p the owner and mode of the image's.
func (t topLayer) copyMeta(p string) error {
	if t.same {
		return nil
	}
	info, err := t.from.Lstat(p)
	if err != nil {
		return fmt.Errorf("look at %s: %w", p, err)
	}
	st := info.Sys().(*syscall.Stat_t)
	if err := errors.Join(t.to.Lchown(p, int(st.Uid), int(st.Gid)), t.to.Chmod(p, info.Mode())); err != nil {
		return fmt.Errorf("own directory %s: %w", p, err)
	}
	return nil
}

// maxPasswd is how much of an image's /etc/passwd is read, as the agent does.
const maxPasswd = 1 << 20

// read returns a small regular file of the image, nothing when there is none or when links lead to it.
func (t topLayer) read(p string) ([]byte, error) {
	if !t.isDirectory(path.Dir(p)) {
		return nil, nil
	}
	info, err := t.from.Lstat(p)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", p, err)
	}
	f, err := t.from.Open(p)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", p, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPasswd))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", p, err)
	}
	return b, nil
}

// write puts a file over the image's.
func (t topLayer) write(p string, content []byte) (err error) {
	if err := t.directory(path.Dir(p)); err != nil {
		return err
	}
	if err := t.ensure(path.Dir(p)); err != nil {
		return err
	}
	if err := t.to.RemoveAll(p); err != nil {
		return fmt.Errorf("replace %s: %w", p, err)
	}
	f, err := t.to.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("write %s: %w", p, err)
	}
	root, _ := t.owner(0)
	_, err = f.Write(content)
	if err := errors.Join(err, f.Chown(root, root), f.Chmod(0o644), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", p, err)
	}
	return nil
}

// cleanHome returns a home directory as /etc/passwd may have it.
func cleanHome(dir string) string {
	if !filepath.IsAbs(dir) || strings.ContainsAny(dir, ":\n") {
		return "/"
	}
	return dir
}
