package library

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/images"
	"github.com/soulbox/soulbox/images/layer"
)

// mounted is how the record of a mounted image lies beside it, for the next daemon.
type mounted struct {
	Dir  string      `json:"dir"`
	User string      `json:"user"`
	Own  []layer.Own `json:"own"`
}

// maxOptions is what mount(2) takes, less what the kernel needs of it.
const maxOptions = 4000

// show makes layers and trees visible below the mounts' directory: sandboxes see in their mount tables where their roots
// lie, and are not to see the state directory.
func (l *Library) show() error {
	if l.o.Mounts == "" {
		return nil
	}
	if err := os.MkdirAll(l.o.Mounts, 0o711); err != nil {
		return fmt.Errorf("make the mounts' directory: %w", err)
	}
	for _, name := range []string{layersDir, treesDir} {
		at := filepath.Join(l.o.Mounts, name)
		if err := os.MkdirAll(at, 0o711); err != nil {
			return fmt.Errorf("make the mounts' directory: %w", err)
		}
		from, err := os.Stat(l.path(name))
		to, err2 := os.Stat(at)
		if err := errors.Join(err, err2); err != nil {
			return fmt.Errorf("look at the directory of layers: %w", err)
		}
		if os.SameFile(from, to) {
			continue // an earlier daemon did
		}
		if err := unix.Mount(l.path(name), at, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("show the directory of layers: %w", err)
		}
	}
	return nil
}

// probe tries whether layers can be put over each other. why is not nil when they cannot.
func (l *Library) probe() (why, err error) {
	if err := layer.Whiteouts(l.path(tmpDir)); err != nil {
		if errors.Is(err, layer.ErrNoWhiteouts) {
			return err, nil
		}
		return nil, err
	}
	if l.o.Mounts == "" {
		return nil, nil
	}
	dir, err := os.MkdirTemp(l.path(tmpDir), "overlay-")
	if err != nil {
		return nil, fmt.Errorf("try overlayfs: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	at := filepath.Join(l.o.Mounts, "probe")
	for _, d := range []string{filepath.Join(dir, "a"), filepath.Join(dir, "b"), at} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("try overlayfs: %w", err)
		}
	}
	defer func() { err = errors.Join(err, os.Remove(at)) }()
	if why := overlay(at, []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}); why != nil {
		return why, nil
	}
	return nil, unmount(at)
}

// overlay mounts directories over each other, the uppermost first, for reading.
func overlay(at string, lower []string) error {
	for i := range lower {
		lower[i] = strings.NewReplacer(`\`, `\\`, `:`, `\:`, `,`, `\,`).Replace(lower[i])
	}
	options := "lowerdir=" + strings.Join(lower, ":") + ",userxattr"
	if len(options) > maxOptions {
		return fmt.Errorf("mount %d layers: their names are longer than a page", len(lower))
	}
	if err := unix.Mount("soulbox-image", at, "overlay", unix.MS_RDONLY|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mount overlayfs on %s: %w", at, err)
	}
	return nil
}

func unmount(at string) error {
	if err := unix.Unmount(at, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", at, err)
	}
	return nil
}

// mountDir is where an image is mounted. The mountpoints it needs are part of the name: they can change with a restart.
func (l *Library) mountDir(digest string) string {
	sum := sha256.Sum256([]byte(strings.Join(l.o.Mountpoints, "\x00")))
	return filepath.Join(l.o.Mounts, "images", strings.TrimPrefix(digest, "sha256:")[:32]+"-"+hex.EncodeToString(sum[:4]))
}

// mount mounts an image, unless it is, and says what a sandbox needs to know of it.
func (l *Library) mount(img Image) (_ *mounted, err error) {
	copies, err := l.ready()
	if err != nil {
		return nil, err
	}
	l.mounting.Lock()
	defer l.mounting.Unlock()
	dir := l.mountDir(img.Digest)
	record := filepath.Join(dir, "image.json")
	m := &mounted{}
	if err := readRecord(record, m); err == nil {
		return m, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := clearMount(dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, clearMount(dir))
		}
	}()
	top, root := filepath.Join(dir, "top"), filepath.Join(dir, "root")
	for _, d := range []string{dir, top, root} {
		if err := errors.Join(os.MkdirAll(d, 0o755), os.Chmod(d, 0o755)); err != nil {
			return nil, fmt.Errorf("mount image %s: %w", img.Digest, err)
		}
	}
	if copies != nil {
		m, err = l.mountTree(img, top, root)
	} else {
		m, err = l.mountLayers(img, top, root)
	}
	if err != nil {
		return nil, fmt.Errorf("mount image %s: %w", img.Digest, err)
	}
	b, err := json.Marshal(m)
	if err == nil {
		err = os.WriteFile(record+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(record+".new", record)
	}
	if err != nil {
		return nil, fmt.Errorf("mount image %s: %w", img.Digest, err)
	}
	return m, nil
}

// mountLayers puts the layers over each other, and what a sandbox needs over them: what that is shows only when they are.
func (l *Library) mountLayers(img Image, top, root string) (*mounted, error) {
	lower, own, err := l.lower(img)
	if err != nil {
		return nil, err
	}
	// Overlayfs wants two without an upper one: top is empty yet.
	if err := overlay(root, append([]string{top}, lower...)); err != nil {
		return nil, err
	}
	user, err := l.fillTop(root, top, img.Config.User)
	if err := errors.Join(err, unmount(root)); err != nil {
		return nil, err
	}
	if err := overlay(root, append([]string{top}, lower...)); err != nil {
		return nil, err
	}
	return &mounted{Dir: root, User: user, Own: own}, nil
}

// lower lists the directories of an image's layers, the uppermost first, down to one that hides those below.
func (l *Library) lower(img Image) (dirs []string, own []layer.Own, err error) {
	for _, id := range slices.Backward(img.chains) {
		rec, err := l.layerRecord(id)
		if err != nil {
			return nil, nil, err
		}
		dirs = append(dirs, filepath.Join(l.o.Mounts, layersDir, id, treeName))
		own = append(own, rec.Own...)
		if rec.Opaque {
			break
		}
	}
	return dirs, own, nil
}

// mountTree shows the one tree of an image on a host without overlayfs. What a sandbox needs was put into it.
func (l *Library) mountTree(img Image, _, root string) (*mounted, error) {
	hex := strings.TrimPrefix(img.Digest, "sha256:")
	var rec treeRecord
	if err := readRecord(l.path(treesDir, hex, "layer.json"), &rec); err != nil {
		return nil, err
	}
	from := filepath.Join(l.o.Mounts, treesDir, hex, treeName)
	if err := unix.Mount(from, root, "", unix.MS_BIND, ""); err != nil {
		return nil, fmt.Errorf("bind the tree: %w", err)
	}
	if err := unix.Mount("", root, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NODEV, ""); err != nil {
		return nil, errors.Join(fmt.Errorf("make the tree read-only: %w", err), unmount(root))
	}
	return &mounted{Dir: root, User: rec.User, Own: rec.Own}, nil
}

// clearMount removes an image's mount, or what of it an earlier daemon left half done.
func clearMount(dir string) error {
	if err := unmount(filepath.Join(dir, "root")); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove a mount's directory: %w", err)
	}
	return nil
}

// rootFS is a mounted image as sandboxes take it.
func (m *mounted) rootFS() *images.RootFS { return images.Tree(m.Dir) }
