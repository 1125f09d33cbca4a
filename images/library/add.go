package library

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	maxManifest = 4 << 20 // bytes, as registries have it
	maxConfig   = 8 << 20 // bytes
	maxLayers   = 500
)

// Target says what an image is to be called.
type Target struct {
	Tenant string
	Name   string
	Source string // see [Image]
}

// source is where an image comes from. Nothing of it is believed.
type source struct {
	manifest []byte
	digest   v1.Hash // that the manifest must have; zero: whatever it has
	config   func(ctx context.Context) (io.ReadCloser, error)
	// layer opens the i-th layer as it came, from an offset on, or from the beginning where the source cannot: at says.
	layer func(ctx context.Context, i int, d v1.Descriptor, offset int64) (r io.ReadCloser, at int64, err error)
	// retries is how often a layer is tried again where it broke off.
	retries int
}

// add takes an image into the library.
func (l *Library) add(ctx context.Context, t Target, s source, report Report) (_ Image, err error) {
	report = report.orNone()
	if err := CheckName(t.Name); err != nil {
		return Image{}, err
	}
	digest, size, err := v1.SHA256(bytes.NewReader(s.manifest))
	if err != nil {
		return Image{}, fmt.Errorf("hash a manifest: %w", err)
	}
	if s.digest != (v1.Hash{}) && s.digest != digest {
		return Image{}, fmt.Errorf("%w: the manifest has the digest %s, not %s", ErrContent, digest, s.digest)
	}
	m, err := parseManifest(s.manifest)
	if err != nil {
		return Image{}, err
	}
	keep := []string{digest.Hex, m.Config.Digest.Hex}
	for _, d := range m.Layers {
		keep = append(keep, d.Digest.Hex)
	}
	defer l.pin(keep...)()
	if err := l.blob(ctx, m.Config, s.retries, report, func(ctx context.Context, _ int64) (io.ReadCloser, int64, error) {
		r, err := s.config(ctx)
		return r, 0, err
	}); err != nil {
		return Image{}, err
	}
	c, err := l.config(m)
	if err != nil {
		return Image{}, err
	}
	defer l.pin(chains(c.RootFS.DiffIDs)...)()
	for i, d := range m.Layers {
		if err := l.blob(ctx, d, s.retries, report, func(ctx context.Context, offset int64) (io.ReadCloser, int64, error) {
			return s.layer(ctx, i, d, offset)
		}); err != nil {
			return Image{}, err
		}
	}
	if err := l.unpackAll(ctx, digest, m, c, report); err != nil {
		return Image{}, err
	}
	if err := l.small(digest, s.manifest); err != nil {
		return Image{}, err
	}
	d := v1.Descriptor{MediaType: m.MediaType, Digest: digest, Size: size, Annotations: map[string]string{
		annotationName: tagged(t.Name), annotationTenant: t.Tenant, annotationSource: t.Source, annotationAdded: time.Now().UTC().Format(time.RFC3339Nano),
	}}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.saveLocked(l.index.put(d)); err != nil {
		return Image{}, err
	}
	return image(d, m, c), nil
}

// parseManifest reads and checks a manifest.
func parseManifest(b []byte) (*v1.Manifest, error) {
	m := &v1.Manifest{}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("%w: the manifest cannot be read: %w", ErrContent, err)
	}
	if m.MediaType == "" { // which the OCI allows
		m.MediaType = types.OCIManifestSchema1
	}
	if !m.MediaType.IsImage() {
		return nil, fmt.Errorf("%w: a manifest of the type %.100q", ErrContent, m.MediaType)
	}
	if len(m.Layers) > maxLayers {
		return nil, fmt.Errorf("%w: %d layers, more than %d", ErrContent, len(m.Layers), maxLayers)
	}
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if d.Digest.Algorithm != "sha256" || len(d.Digest.Hex) != 64 || d.Size < 0 {
			return nil, fmt.Errorf("%w: a part of it has the digest %.100q and the size %d", ErrContent, d.Digest.String(), d.Size)
		}
	}
	if m.Config.Size > maxConfig {
		return nil, fmt.Errorf("%w: a configuration of %d bytes", ErrContent, m.Config.Size)
	}
	return m, nil
}

// config reads and checks the configuration of m, which is there.
func (l *Library) config(m *v1.Manifest) (*v1.ConfigFile, error) {
	f, err := l.openBlob(m.Config.Digest)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c := &v1.ConfigFile{}
	if err := json.NewDecoder(io.LimitReader(f, maxConfig)).Decode(c); err != nil {
		return nil, fmt.Errorf("%w: the configuration cannot be read: %w", ErrContent, err)
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return nil, fmt.Errorf("%w: %d layers, and the configuration has digests of %d", ErrContent, len(m.Layers), len(c.RootFS.DiffIDs))
	}
	if len(m.Layers) == 0 {
		return nil, fmt.Errorf("%w: it has no layer", ErrContent)
	}
	for _, h := range c.RootFS.DiffIDs {
		if h.Algorithm != "sha256" || len(h.Hex) != 64 {
			return nil, fmt.Errorf("%w: a layer has the digest %.100q", ErrContent, h.String())
		}
	}
	if err := checkPlatform(c); err != nil {
		return nil, err
	}
	return c, nil
}
