package library

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Collected is what was removed.
type Collected struct {
	Blobs, Layers, Partial int64 // how many
	Bytes                  int64 // on disk
}

// Remove forgets the image that a tenant means by name, and removes what no other image has of it. An error that wraps
// [ErrInUse] means that it is used, and goes by no other name.
func (l *Library) Remove(tenant, name string) (Collected, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, err := l.index.find(tenant, name)
	if err != nil {
		return Collected{}, err
	}
	left := l.index.without(tenant, d.Annotations[annotationName])
	if n := l.uses[d.Digest.String()]; n > 0 && !hasDigest(left, d.Digest) {
		return Collected{}, fmt.Errorf("%w: %s, by %d sandboxes or executions", ErrInUse, d.Annotations[annotationName], n)
	}
	if err := l.saveLocked(left); err != nil {
		return Collected{}, err
	}
	if !hasDigest(left, d.Digest) {
		if err := clearMount(l.mountDir(d.Digest.String())); err != nil {
			return Collected{}, err
		}
	}
	return l.collectLocked(false)
}

func hasDigest(entries []v1.Descriptor, h v1.Hash) bool {
	for _, d := range entries {
		if d.Digest == h {
			return true
		}
	}
	return false
}

// Collect removes what no image refers to, what nobody uses of images whose names went to others, and parts of downloads
// that nobody waits for.
func (l *Library) Collect() (Collected, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.collectLocked(true)
}

// collectLocked removes what nothing keeps; l.mu is held.
func (l *Library) collectLocked(partial bool) (Collected, error) {
	keep, err := l.keepLocked()
	if err != nil {
		return Collected{}, err
	}
	if err := l.unmountUnkept(keep); err != nil {
		return Collected{}, err
	}
	var c Collected
	counts := []struct {
		dir string
		n   *int64
	}{{blobsDir, &c.Blobs}, {layersDir, &c.Layers}, {treesDir, &c.Layers}}
	if partial {
		counts = append(counts, struct {
			dir string
			n   *int64
		}{partialDir, &c.Partial})
	}
	for _, of := range counts {
		entries, err := os.ReadDir(l.path(of.dir))
		if err != nil {
			return c, fmt.Errorf("collect images: %w", err)
		}
		for _, e := range entries {
			if keep[e.Name()] {
				continue
			}
			size, err := l.discard(filepath.Join(of.dir, e.Name()))
			if err != nil {
				return c, err
			}
			*of.n++
			c.Bytes += size
		}
	}
	return c, nil
}

// keepLocked returns the digests, in hexadecimal, of all that is to stay; l.mu is held. What cannot be read stops it:
// better nothing is removed than too much.
func (l *Library) keepLocked() (map[string]bool, error) {
	keep := map[string]bool{}
	for hex := range l.pins {
		keep[hex] = true
	}
	entries := append([]v1.Descriptor(nil), l.index.Manifests...)
	for digest := range l.uses {
		entries = append(entries, v1.Descriptor{Digest: v1.Hash{Algorithm: "sha256", Hex: hexOf(digest)}})
	}
	for _, d := range entries {
		m, c, err := l.read(d)
		if err != nil {
			return nil, err
		}
		keep[d.Digest.Hex], keep[m.Config.Digest.Hex] = true, true
		for i := range m.Layers {
			keep[m.Layers[i].Digest.Hex] = true
		}
		for _, id := range chains(c.RootFS.DiffIDs) {
			keep[id] = true
		}
	}
	return keep, nil
}

// unmountUnkept unmounts the images that go.
func (l *Library) unmountUnkept(keep map[string]bool) error {
	dir := filepath.Join(l.o.Mounts, "images")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("collect images: %w", err)
	}
	stays := map[string]bool{}
	for hex := range keep {
		stays[hex[:32]] = true
	}
	for _, e := range entries {
		if id, _, _ := strings.Cut(e.Name(), "-"); !stays[id] {
			if err := clearMount(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// discard removes something of the library, from sight first, and returns what it took on disk.
func (l *Library) discard(name string) (size int64, err error) {
	tmp, err := os.MkdirTemp(l.path(tmpDir), "discard-")
	if err != nil {
		return 0, fmt.Errorf("discard %s: %w", name, err)
	}
	to := filepath.Join(tmp, filepath.Base(name))
	if err := os.Rename(l.path(name), to); err != nil {
		return 0, errors.Join(fmt.Errorf("discard %s: %w", name, err), os.Remove(tmp))
	}
	size = diskUsed(to)
	if err := os.RemoveAll(tmp); err != nil {
		return 0, fmt.Errorf("discard %s: %w", name, err)
	}
	return size, nil
}
