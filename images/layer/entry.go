package layer

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// copyBuffer is how much of a file is written at once; what is all zeros of it becomes a hole.
const copyBuffer = 64 << 10

// write makes what h describes as base in the directory fd, in place of what is there.
func (w *writer) write(fd int, dir []string, base string, h *tar.Header, content io.Reader) error {
	m := w.meta(h)
	if h.Typeflag == tar.TypeDir {
		if err := w.makeDir(fd, dir, base, m); err != nil {
			return err
		}
		w.note(key(dir, base), h, m)
		return nil
	}
	if h.Typeflag == tar.TypeLink {
		return w.link(fd, dir, base, h.Linkname)
	}
	if err := w.clear(fd, base); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, '7': // contiguous files are long forgotten, and ordinary ones
		if err := w.file(fd, base, h, m, content); err != nil {
			return err
		}
	case tar.TypeSymlink:
		if len(h.Linkname) > maxPath || h.Linkname == "" {
			return fmt.Errorf("%w: a link to a path of %d bytes", ErrHostile, len(h.Linkname))
		}
		if err := unix.Symlinkat(h.Linkname, fd, base); err != nil {
			return fmt.Errorf("make a link: %w", err)
		}
		if err := m.apply(fd, base, true); err != nil {
			return err
		}
	case tar.TypeFifo:
		if err := unix.Mkfifoat(fd, base, 0o600); err != nil {
			return fmt.Errorf("make a pipe: %w", err)
		}
		if err := m.apply(fd, base, false); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%w: an entry of the unknown type %q", ErrHostile, h.Typeflag)
	}
	w.note(key(dir, base), h, m)
	return nil
}

// clear removes what lies at base, of this layer or of those below.
func (w *writer) clear(fd int, base string) error {
	_, there, err := stat(fd, base)
	if err != nil || !there {
		return err
	}
	return remove(fd, base)
}

// wrote remembers that something of this layer lies at p.
func (w *writer) wrote(p string) {
	for ; p != "." && !w.made[p]; p = path.Dir(p) {
		w.made[p] = true
	}
}

// note remembers that this layer wrote p, and whose it is.
func (w *writer) note(p string, h *tar.Header, m meta) {
	w.wrote(p)
	if !m.own {
		return
	}
	if len(w.result.Own) >= MaxOwn {
		w.result.OwnLeft++
		return
	}
	w.result.Own = append(w.result.Own, Own{Path: p, UID: h.Uid, GID: h.Gid})
}

// makeDir makes base a directory of fd; one that is there stays and takes what m says. Over a whiteout it becomes one that
// hides what layers below have there.
func (w *writer) makeDir(fd int, dir []string, base string, m meta) error {
	p := key(dir, base)
	st, there, err := stat(fd, base)
	if err != nil {
		return err
	}
	opaque := there && isWhiteout(st) && !w.over
	if there && !isDir(st) {
		if err := w.clear(fd, base); err != nil {
			return err
		}
		there = false
	}
	if !there {
		if err := unix.Mkdirat(fd, base, 0o700); err != nil {
			return fmt.Errorf("make a directory: %w", err)
		}
	}
	w.wrote(p)
	w.dirs[p] = m
	if opaque {
		return w.hide(fd, base)
	}
	return nil
}

// link makes base another name of a file of this layer, or of those below where they lie in the same tree.
func (w *writer) link(fd int, dir []string, base, target string) error {
	parts, err := split(target)
	if err != nil {
		return err
	}
	if len(parts) == 0 {
		return fmt.Errorf("%w: a hard link to the root", ErrHostile)
	}
	if path.Join(parts...) == key(dir, base) {
		return nil // it is that file
	}
	from, err := w.open(parts[:len(parts)-1])
	if err != nil {
		if errors.Is(err, unix.ENOENT) {
			return noTarget(target)
		}
		return explain(err, parts[:len(parts)-1])
	}
	defer unix.Close(from)
	name := parts[len(parts)-1]
	st, there, err := stat(from, name)
	switch {
	case err != nil:
		return err
	case !there || isWhiteout(st):
		return noTarget(target)
	case isDir(st):
		return fmt.Errorf("%w: a hard link to a directory", ErrHostile)
	}
	if err := w.clear(fd, base); err != nil {
		return err
	}
	if err := unix.Linkat(from, name, fd, base, 0); err != nil {
		if errors.Is(err, unix.ENOENT) { // what it is to be a name of lay below what it replaces
			return noTarget(target)
		}
		return fmt.Errorf("make a hard link: %w", err)
	}
	w.wrote(key(dir, base))
	return nil
}

func noTarget(target string) error {
	return fmt.Errorf("%w: a hard link to %.100q, which is not in this layer", ErrHostile, target)
}

// file writes a regular file.
func (w *writer) file(fd int, base string, h *tar.Header, m meta, content io.Reader) (err error) {
	if h.Size < 0 || h.Size > w.o.MaxBytes-w.result.Bytes {
		return fmt.Errorf("%w: its files have more than %d bytes", ErrTooLarge, w.o.MaxBytes)
	}
	w.result.Bytes += h.Size
	out, err := unix.Openat(fd, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("create a file: %w", err)
	}
	f := os.NewFile(uintptr(out), base)
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := copySparse(f, content, h.Size); err != nil {
		return err
	}
	if err := m.applyFile(f); err != nil {
		return err
	}
	return nil
}

// copySparse writes size bytes of r to f, and leaves holes where all is zero.
func copySparse(f *os.File, r io.Reader, size int64) error {
	buf, zeros := make([]byte, min(copyBuffer, max(size, 1))), make([]byte, copyBuffer)
	for at := int64(0); at < size; {
		n, err := io.ReadFull(r, buf[:min(int64(len(buf)), size-at)])
		if err != nil {
			return damaged(fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err))
		}
		if !bytes.Equal(buf[:n], zeros[:n]) {
			if _, err := f.WriteAt(buf[:n], at); err != nil {
				return fmt.Errorf("write a file: %w", err)
			}
		}
		at += int64(n)
	}
	if err := f.Truncate(size); err != nil {
		return fmt.Errorf("write a file: %w", err)
	}
	return nil
}
