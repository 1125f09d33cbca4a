package layer

import (
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// What layers delete of those below, as the names of archives have it.
const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..opq" // after the prefix
)

// opaqueXattr marks for overlayfs, mounted with userxattr, a directory that hides those below it.
const opaqueXattr = "user.overlay.opaque"

// isWhiteout tells whether a file hides for overlayfs what lies below it: a device that is none, which can be made in a
// user namespace too, since Linux 5.8.
func isWhiteout(st unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

// ErrNoWhiteouts means that this host cannot make what overlayfs deletes with: [Apply] is left.
var ErrNoWhiteouts = errors.New("whiteouts cannot be made here")

// Whiteouts returns an error that wraps [ErrNoWhiteouts] when no whiteout can be made below dir, which it tries.
func Whiteouts(dir string) (err error) {
	probe, err := os.MkdirTemp(dir, "whiteout-")
	if err != nil {
		return fmt.Errorf("try a whiteout: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(probe)) }()
	if err := unix.Mknod(path.Join(probe, "gone"), unix.S_IFCHR, 0); err != nil {
		return fmt.Errorf("%w: make a device 0:0: %w", ErrNoWhiteouts, err)
	}
	if err := unix.Setxattr(probe, opaqueXattr, []byte("y"), 0); err != nil {
		return fmt.Errorf("%w: set %s: %w", ErrNoWhiteouts, opaqueXattr, err)
	}
	return nil
}

// whiteout deletes from the directory fd, which is dir, what hidden says: a name, or all that layers below have there.
func (w *writer) whiteout(fd int, dir []string, hidden string) error {
	switch {
	case hidden == opaqueName:
		return w.opaque(fd, dir)
	case len(hidden) > len(whiteoutPrefix) && hidden[:len(whiteoutPrefix)] == whiteoutPrefix:
		return nil // what an older union file system kept for itself
	case hidden == "" || hidden == "." || hidden == "..":
		return fmt.Errorf("%w: a whiteout of no name", ErrHostile)
	}
	if w.over {
		return w.prune(fd, dir, hidden)
	}
	st, there, err := stat(fd, hidden)
	switch {
	case err != nil:
		return err
	case there && isDir(st): // this layer's own: it stays, and what is below it goes
		return w.hide(fd, hidden)
	case there:
		return nil
	}
	if err := unix.Mknodat(fd, hidden, unix.S_IFCHR|0o600, 0); err != nil {
		return fmt.Errorf("%w: %w", ErrNoWhiteouts, err)
	}
	return nil
}

// opaque hides all that layers below have in dir.
func (w *writer) opaque(fd int, dir []string) error {
	if w.over {
		names, sub, err := list(fd, ".")
		if err != nil {
			return err
		}
		defer unix.Close(sub)
		for _, name := range names {
			if err := w.prune(fd, dir, name); err != nil {
				return err
			}
		}
		return nil
	}
	if len(dir) == 0 {
		w.result.Opaque = true // overlayfs asks no root whether it hides others
		return nil
	}
	return w.mark(fd)
}

// hide makes the directory name of fd opaque.
func (w *writer) hide(fd int, name string) error {
	sub, err := tree{fd}.open([]string{name})
	if err != nil {
		return explain(err, []string{name})
	}
	defer unix.Close(sub)
	return w.mark(sub)
}

func (w *writer) mark(fd int) error {
	if err := unix.Fsetxattr(fd, opaqueXattr, []byte("y"), 0); err != nil {
		return fmt.Errorf("%w: set %s: %w", ErrNoWhiteouts, opaqueXattr, err)
	}
	return nil
}

// prune removes name from fd, which is dir, but for what this layer wrote: a whiteout is of the layers below alone.
func (w *writer) prune(fd int, dir []string, name string) error {
	st, there, err := stat(fd, name)
	if err != nil || !there {
		return err
	}
	if !w.made[key(dir, name)] {
		return remove(fd, name)
	}
	if !isDir(st) {
		return nil
	}
	names, sub, err := list(fd, name)
	if err != nil {
		return err
	}
	defer unix.Close(sub)
	below := append(append([]string(nil), dir...), name)
	for _, n := range names {
		if err := w.prune(sub, below, n); err != nil {
			return err
		}
	}
	return nil
}
