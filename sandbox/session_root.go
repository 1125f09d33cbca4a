package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/images"
)

// installSessions makes the lower layer of sandboxes that live on, once for each supervisor: those of an earlier daemon
// may stand on it.
func (e *Engine) installSessions(ctx context.Context) error {
	if err := e.bindDisk(); err != nil {
		return err
	}
	dir := filepath.Join(e.o.RunDir, "images")
	saved := filepath.Join(dir, "session.json")
	root, err := images.LoadRootFS(saved)
	if !errors.Is(err, fs.ErrNotExist) {
		e.sessionRoot = root
		return err
	}
	o := e.o.Host
	o.Session, o.UID, o.GID = true, wideRoot, wideRoot
	if root, err = e.buildHost(ctx, "session", o); err != nil {
		return err
	}
	if root, err = e.withSetuid(root); err != nil {
		return err
	}
	e.sessionRoot = root
	return root.Save(saved)
}

// withSetuid puts the host's setuid programs, owned by the sandboxes' root, over its /usr. A host without any, or where
// /usr cannot be a layer, goes without: sudo is then not there.
func (e *Engine) withSetuid(root *images.RootFS) (*images.RootFS, error) {
	layer := filepath.Join(e.o.RunDir, "images", "setuid")
	merged := filepath.Join(e.o.RunDir, "images", "usr")
	if err := e.clearMount(merged); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(layer); err != nil {
		return nil, fmt.Errorf("remove the old layer of setuid programs: %w", err)
	}
	found, err := images.BuildSetuid(layer, "/usr", wideRoot)
	if err != nil {
		return nil, fmt.Errorf("make the layer of setuid programs: %w", err)
	}
	if !found {
		return root, nil
	}
	if err := os.Mkdir(merged, 0o755); err != nil {
		return nil, fmt.Errorf("make the mountpoint of /usr for sessions: %w", err)
	}
	err = unix.Mount("soulbox-usr", merged, "overlay", unix.MS_NODEV|unix.MS_RDONLY, "lowerdir="+escapeOverlay(layer)+":/usr,userxattr")
	if err != nil {
		e.log.Warn("sessions have no sudo: the host's /usr cannot be a layer", "err", err)
		return root, nil
	}
	return root.Layer(merged), nil
}

// clearMount unmounts and removes what an earlier start left half done.
func (e *Engine) clearMount(dir string) error {
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old mountpoint: %w", err)
	}
	return nil
}

// bindDisk shows the sandboxes' files below the run directory. A sandbox sees in its mount table where its root lies: it
// is to see that name, and not the state directory's.
func (e *Engine) bindDisk() error {
	disk, shown := filepath.Join(e.o.StateDir, "sandboxes"), filepath.Join(e.o.RunDir, "disk")
	if err := os.MkdirAll(disk, 0o700); err != nil {
		return fmt.Errorf("make the directory of sandboxes: %w", err)
	}
	if err := os.MkdirAll(shown, 0o700); err != nil {
		return fmt.Errorf("make the mountpoint of sandboxes' files: %w", err)
	}
	from, err := os.Stat(disk)
	to, err2 := os.Stat(shown)
	if err := errors.Join(err, err2); err != nil {
		return fmt.Errorf("look at the directory of sandboxes: %w", err)
	}
	if os.SameFile(from, to) {
		return nil // an earlier daemon did
	}
	if err := unix.Mount(disk, shown, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("show the directory of sandboxes: %w", err)
	}
	return nil
}
