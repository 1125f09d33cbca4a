package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/images"
)

// The files of a sandbox that lives on: what it writes lies on disk, below a directory of its own, as the upper layer
// over an image that all share.

// upperDir and workDir are the overlay's directories below a sandbox's own.
const (
	upperDir = "upper"
	workDir  = "work"
)

func (e *Engine) sandboxDir(id ID) string {
	return filepath.Join(e.o.StateDir, "sandboxes", string(id))
}

// diskDir is where a sandbox's own directory shows in the run directory, see [Engine.bindDisk].
func (e *Engine) diskDir(id ID) string { return filepath.Join(e.o.RunDir, "disk", string(id)) }

func (e *Engine) rootDir(id ID) string { return filepath.Join(e.o.RunDir, "roots", string(id)) }

// makeRoot makes and mounts the root file system of a sandbox over an image, and returns it. Its processes begin in workdir.
func (e *Engine) makeRoot(b *box, image imageRoot, workdir string) (_ *images.RootFS, err error) {
	dir, root := e.sandboxDir(b.id), e.rootDir(b.id)
	b.undo.add(func(context.Context) error { return removeRoot(dir, root) })
	upper, work := filepath.Join(dir, upperDir), filepath.Join(dir, workDir)
	for _, d := range []string{dir, upper, work} {
		if err := e.o.host("make directory of layers", func() error { return os.MkdirAll(d, 0o755) }); err != nil {
			return nil, fmt.Errorf("make directories of sandbox %s: %w", b.id, err)
		}
	}
	if err := e.o.host("fill the layer", func() error { return e.fillUpper(upper, image, b) }); err != nil {
		return nil, fmt.Errorf("make the layer of sandbox %s: %w", b.id, err)
	}
	if err := e.o.host("make mountpoint", func() error { return os.MkdirAll(root, 0o711) }); err != nil {
		return nil, fmt.Errorf("make mountpoint of sandbox %s: %w", b.id, err)
	}
	shown := escapeOverlay(e.diskDir(b.id))
	options := "lowerdir=" + escapeOverlay(image.Dir) + ",upperdir=" + shown + "/" + upperDir + ",workdir=" + shown + "/" + workDir + ",userxattr"
	if err := e.o.host("mount root", func() error { return unix.Mount("soulbox-root", root, "overlay", unix.MS_NODEV, options) }); err != nil {
		return nil, fmt.Errorf("mount the root of sandbox %s (overlayfs over %s; the state directory must be on a file system that can carry it, such as ext4, xfs or btrfs): %w",
			b.id, image.Dir, err)
	}
	if image.made != nil {
		if err := e.settleImage(b, root, image.made, workdir); err != nil {
			return nil, fmt.Errorf("settle the image of sandbox %s: %w", b.id, err)
		}
	}
	own := *image.RootFS
	own.Dir = root
	return &own, nil
}

// fillUpper makes what a sandbox's layer has from the start: mountpoints, the user's home, and the sandbox's name.
func (e *Engine) fillUpper(upper string, image imageRoot, b *box) error {
	if err := os.Chown(upper, wideRoot, wideRoot); err != nil {
		return err
	}
	if image.made != nil { // which brings the rest
		return makeNames(upper, b.id)
	}
	for _, dir := range images.Mountpoints(e.o.Host.Languages) {
		if exists(filepath.Join(image.Dir, dir)) {
			continue
		}
		if err := makeOwned(upper, dir); err != nil {
			return err
		}
	}
	return errors.Join(makeHome(upper, b.block), makeNames(upper, b.id))
}

// makeOwned makes a directory of the sandbox's root, and those that lead to it.
func makeOwned(upper, dir string) error {
	if parent := filepath.Dir(dir); parent != "." && !exists(filepath.Join(upper, parent)) {
		if err := makeOwned(upper, parent); err != nil {
			return err
		}
	}
	path := filepath.Join(upper, dir)
	return errors.Join(os.Mkdir(path, 0o755), os.Chown(path, wideRoot, wideRoot))
}

// makeHome makes the home directory of the sandbox's own user.
func makeHome(upper string, block Block) error {
	user := filepath.Join(upper, "home", "user")
	own := int(block.Base())
	return errors.Join(makeOwned(upper, "home"), os.Mkdir(user, 0o755), os.Chown(user, own, own))
}

// makeNames tells the sandbox its own name, without which sudo and others complain.
func makeNames(upper string, id ID) error {
	etc := filepath.Join(upper, "etc")
	if err := makeOwned(upper, "etc"); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"hostname": string(id) + "\n",
		"hosts":    "127.0.0.1 localhost " + string(id) + "\n::1 localhost ip6-localhost ip6-loopback\n",
	} {
		path := filepath.Join(etc, name)
		if err := errors.Join(writeNew(path, []byte(text), 0o644), os.Chown(path, wideRoot, wideRoot)); err != nil {
			return err
		}
	}
	return nil
}

// escapeOverlay quotes what overlayfs gives a meaning to in its options.
func escapeOverlay(p string) string {
	var b []byte
	for i := range len(p) {
		if p[i] == ',' || p[i] == ':' || p[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, p[i])
	}
	return string(b)
}

// removeRoot unmounts and removes the files of a sandbox. What is not there is not an error.
func removeRoot(dir, root string) error {
	if err := unix.Unmount(root, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", root, err)
	}
	if err := os.Remove(root); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove mountpoint: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove files of a sandbox: %w", err)
	}
	return nil
}

// diskUsed adds up the blocks that a sandbox has written, in bytes. It looks at most at most files, and then says that
// there are more.
func diskUsed(ctx context.Context, upper string, most int) (bytes int64, more bool, err error) {
	seen := 0
	err = filepath.WalkDir(upper, func(_ string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return nil //nolint:nilerr // it vanished meanwhile
		}
		if seen++; seen > most {
			more = true
			return fs.SkipAll
		}
		if info, err := d.Info(); err == nil {
			bytes += allocated(info)
		}
		return nil
	})
	return bytes, more, err
}

// allocated returns the bytes on disk that a file takes. A hard link counts once for each of its names.
func allocated(info fs.FileInfo) int64 {
	const unit = 512 // of st_blocks, see stat(2)
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * unit
	}
	return info.Size()
}
