package layer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Unpack writes the layer that r holds, an uncompressed tar archive, into the empty directory dir, for overlayfs. r is
// read to its end. After an error what was written stays.
func Unpack(ctx context.Context, dir string, r io.Reader, o Options) (Result, error) {
	return unpack(ctx, dir, r, o, false)
}

// Apply writes the layer over what earlier calls wrote to dir: what it deletes is removed.
func Apply(ctx context.Context, dir string, r io.Reader, o Options) (Result, error) {
	return unpack(ctx, dir, r, o, true)
}

func unpack(ctx context.Context, dir string, r io.Reader, o Options, over bool) (_ Result, err error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return Result{}, fmt.Errorf("open the layer's directory %s: %w", dir, err)
	}
	defer unix.Close(fd)
	w := &writer{tree: tree{fd}, o: o.withDefaults(), over: over, made: map[string]bool{}, dirs: map[string]meta{}}
	archive := tar.NewReader(r)
	for {
		if ctx.Err() != nil {
			return w.result, fmt.Errorf("unpack a layer: %w", context.Cause(ctx))
		}
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return w.result, damaged(err)
		}
		if err := w.entry(h, archive); err != nil {
			return w.result, fmt.Errorf("unpack %.200q: %w", h.Name, err)
		}
	}
	if _, ok := w.dirs[""]; !ok && !over {
		if w.dirs[""], err = w.inherited(nil); err != nil {
			return w.result, err
		}
	}
	if err := w.settle(); err != nil {
		return w.result, err
	}
	// What follows the archive's end is read too: it belongs to what the digest is of.
	if _, err := io.Copy(io.Discard, r); err != nil {
		return w.result, damaged(err)
	}
	return w.result, nil
}

// damaged wraps an error of reading the archive: what package tar says of the archive itself is its maker's fault.
func damaged(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, tar.ErrFieldTooLong) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it is damaged: %w", ErrHostile, err)
	}
	return fmt.Errorf("read a layer: %w", err)
}

// writer writes one layer.
type writer struct {
	tree
	o      Options
	over   bool            // other layers lie in the tree already
	made   map[string]bool // paths that this layer wrote, and those of the directories to them
	dirs   map[string]meta // what becomes of directories in the end
	result Result
}

// entry writes one entry of the archive.
func (w *writer) entry(h *tar.Header, content io.Reader) error {
	if w.result.Entries++; w.result.Entries > w.o.MaxEntries {
		return fmt.Errorf("%w: more than %d entries", ErrTooLarge, w.o.MaxEntries)
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	parts, err := split(h.Name)
	if err != nil {
		return err
	}
	if len(parts) == 0 {
		return w.top(h)
	}
	dir, base := parts[:len(parts)-1], parts[len(parts)-1]
	if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
		w.result.Devices++
		return nil
	}
	fd, err := w.parent(dir)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if hidden, ok := strings.CutPrefix(base, whiteoutPrefix); ok {
		return w.whiteout(fd, dir, hidden)
	}
	return w.write(fd, dir, base, h, content)
}

// top takes the entry of the root itself.
func (w *writer) top(h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		return fmt.Errorf("%w: its root is no directory", ErrHostile)
	}
	w.dirs[""] = w.meta(h)
	return nil
}

// parent opens the directory that an entry belongs into, and makes it when the archive did not.
func (w *writer) parent(dir []string) (int, error) {
	fd, err := w.open(dir)
	if err == nil {
		return fd, nil
	}
	if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) {
		return -1, explain(err, dir)
	}
	for i := range dir {
		if err := w.makeParent(dir[:i], dir[i]); err != nil {
			return -1, err
		}
	}
	if fd, err = w.open(dir); err != nil {
		return -1, explain(err, dir)
	}
	return fd, nil
}

// makeParent makes sure that name is a directory of dir, which is one. What a layer below has in its place gives way; what
// this layer has does not.
func (w *writer) makeParent(dir []string, name string) error {
	fd, err := w.open(dir)
	if err != nil {
		return explain(err, dir)
	}
	defer unix.Close(fd)
	p := key(dir, name)
	st, there, err := stat(fd, name)
	if err != nil {
		return err
	}
	if there && isDir(st) {
		return nil
	}
	hides := there && isWhiteout(st)
	if there && !hides && (!w.over || w.made[p]) {
		return fmt.Errorf("%w: %.100q", errThrough, p)
	}
	m := meta{mode: 0o755, uid: w.id(0, nil), gid: w.id(0, nil)}
	if !hides {
		if m, err = w.inherited(append(slices.Clone(dir), name)); err != nil {
			return err
		}
	}
	return w.makeDir(fd, dir, name, m)
}

func key(dir []string, name string) string { return path.Join(path.Join(dir...), name) }

// id maps an owner and notes in own whether each sandbox has it for itself.
func (w *writer) id(id int, own *bool) int {
	if int(uint32(id)) != id {
		id = Nobody
	}
	mapped, mine := w.o.Owner(id)
	if own != nil {
		*own = *own || mine
	}
	return mapped
}
