package library

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// index is what index.json holds. [Library.mu] guards it.
type index struct{ v1.IndexManifest }

func readIndex(path string) (*index, error) {
	ix := &index{v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ix, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &ix.IndexManifest)
	}
	if err != nil {
		return nil, fmt.Errorf("read the index of images: %w", err)
	}
	return ix, nil
}

// find returns the entry that a tenant means by name, or by a digest or the beginning of one.
func (ix *index) find(tenant, asked string) (v1.Descriptor, error) {
	var found []v1.Descriptor
	for _, d := range ix.Manifests {
		if d.Annotations[annotationTenant] != tenant {
			continue
		}
		if d.Annotations[annotationName] == tagged(asked) {
			return d, nil
		}
		if names(asked, d.Annotations[annotationName], d.Digest) {
			found = append(found, d)
		}
	}
	same := slices.CompactFunc(slices.Clone(found), func(a, b v1.Descriptor) bool { return a.Digest == b.Digest })
	switch {
	case len(found) == 0:
		return v1.Descriptor{}, fmt.Errorf("%w: %q", ErrNotFound, asked)
	case len(same) > 1:
		return v1.Descriptor{}, fmt.Errorf("%w: more than one digest begins with %q", ErrNotFound, asked)
	}
	return found[0], nil
}

// put returns the entries with d in place of the one of its tenant and name.
func (ix *index) put(d v1.Descriptor) []v1.Descriptor {
	return append(ix.without(d.Annotations[annotationTenant], d.Annotations[annotationName]), d)
}

// without returns the entries less the one of a tenant and name.
func (ix *index) without(tenant, name string) []v1.Descriptor {
	return slices.DeleteFunc(slices.Clone(ix.Manifests), func(d v1.Descriptor) bool {
		return d.Annotations[annotationTenant] == tenant && d.Annotations[annotationName] == name
	})
}

// saveLocked makes entries the index, on disk first; l.mu is held.
func (l *Library) saveLocked(entries []v1.Descriptor) error {
	slices.SortFunc(entries, func(a, b v1.Descriptor) int {
		return strings.Compare(a.Annotations[annotationTenant]+"\x00"+a.Annotations[annotationName], b.Annotations[annotationTenant]+"\x00"+b.Annotations[annotationName])
	})
	next := l.index.IndexManifest
	next.Manifests = entries
	b, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("encode the index of images: %w", err)
	}
	if err := l.writeWhole(indexFile, b); err != nil {
		return err
	}
	l.index.Manifests = entries
	return nil
}

// read returns an image's manifest and configuration.
func (l *Library) read(d v1.Descriptor) (*v1.Manifest, *v1.ConfigFile, error) {
	m, c := &v1.Manifest{}, &v1.ConfigFile{}
	b, err := os.ReadFile(l.path(blobsDir, d.Digest.Hex))
	if err == nil {
		err = json.Unmarshal(b, m)
	}
	if err == nil {
		b, err = os.ReadFile(l.path(blobsDir, m.Config.Digest.Hex))
	}
	if err == nil {
		err = json.Unmarshal(b, c)
	}
	if err == nil && len(m.Layers) != len(c.RootFS.DiffIDs) {
		err = errors.New("it has not as many layers as digests of them")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read image %s: %w", d.Digest, err)
	}
	return m, c, nil
}

// List returns the images of a tenant, by name.
func (l *Library) List(tenant string) ([]Image, error) {
	l.mu.Lock()
	entries := l.index.Manifests
	l.mu.Unlock()
	var out []Image
	for _, d := range entries {
		if d.Annotations[annotationTenant] != tenant {
			continue
		}
		m, c, err := l.read(d)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue // it was removed meanwhile
			}
			return nil, err
		}
		out = append(out, image(d, m, c))
	}
	return out, nil
}

// Get returns the image that a tenant calls so, or that has a digest which is or begins like that.
func (l *Library) Get(tenant, name string) (Image, error) {
	_, img, err := l.get(tenant, name)
	return img, err
}

func (l *Library) get(tenant, name string) (v1.Descriptor, Image, error) {
	l.mu.Lock()
	d, err := l.index.find(tenant, name)
	l.mu.Unlock()
	if err != nil {
		return d, Image{}, err
	}
	m, c, err := l.read(d)
	if err != nil {
		return d, Image{}, err
	}
	return d, image(d, m, c), nil
}
