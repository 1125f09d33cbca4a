package library

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Bounds of an archive that is imported.
const (
	maxArchiveEntries = 100_000
	maxArchiveLinks   = 8
)

// archive is a tar archive on disk, by the names in it.
type archive struct {
	file  *os.File
	files map[string]*io.SectionReader
	links map[string]string
}

// Import takes the image that an archive holds: an OCI layout or what docker save writes, as one tar archive. which names
// one of several, "" the only one.
func (l *Library) Import(ctx context.Context, t Target, r io.Reader, which string, report Report) (_ Image, err error) {
	if err := CheckName(t.Name); err != nil {
		return Image{}, err
	}
	a, err := l.spool(ctx, r)
	if err != nil {
		return Image{}, err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	s, err := a.source(which)
	if err != nil {
		return Image{}, err
	}
	return l.add(ctx, t, s, report)
}

// spool writes r to disk and notes where what is in it lies.
func (l *Library) spool(ctx context.Context, r io.Reader) (_ *archive, err error) {
	f, err := os.CreateTemp(l.path(tmpDir), "import-")
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	a := &archive{file: f, files: map[string]*io.SectionReader{}, links: map[string]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	n, err := io.Copy(f, io.LimitReader(&ended{ctx, r}, l.o.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	if n > l.o.MaxBytes {
		return nil, fmt.Errorf("%w: the archive has more than %d bytes", ErrContent, l.o.MaxBytes)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	return a, a.scan()
}

// ended is a reader that ends with its context.
type ended struct {
	ctx context.Context
	r   io.Reader
}

func (e *ended) Read(p []byte) (int, error) {
	if e.ctx.Err() != nil {
		return 0, context.Cause(e.ctx)
	}
	return e.r.Read(p)
}

func (a *archive) close() error { return errors.Join(a.file.Close(), os.Remove(a.file.Name())) }

// scan notes the entries of the archive.
func (a *archive) scan() error {
	t := tar.NewReader(a.file)
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: this is no tar archive, or damaged: %w", ErrContent, err)
		}
		if n > maxArchiveEntries {
			return fmt.Errorf("%w: the archive has more than %d entries", ErrContent, maxArchiveEntries)
		}
		name := path.Clean("/" + h.Name)[1:]
		switch h.Typeflag {
		case tar.TypeReg:
			at, err := a.file.Seek(0, io.SeekCurrent) // package tar reads no further than it must
			if err != nil {
				return fmt.Errorf("import: %w", err)
			}
			a.files[name] = io.NewSectionReader(a.file, at, h.Size)
		case tar.TypeSymlink: // old archives have one layer's name for another's
			a.links[name] = path.Clean("/" + path.Join(path.Dir(name), h.Linkname))[1:] //nolint:gosec // a name in the archive, and no path
		case tar.TypeLink:
			a.links[name] = path.Clean("/" + h.Linkname)[1:]
		}
	}
}

// open returns a file of the archive.
func (a *archive) open(name string) (*io.SectionReader, error) {
	name = path.Clean("/" + name)[1:]
	for range maxArchiveLinks {
		if s, ok := a.files[name]; ok {
			return io.NewSectionReader(s, 0, s.Size()), nil
		}
		next, ok := a.links[name]
		if !ok {
			break
		}
		name = next
	}
	return nil, fmt.Errorf("%w: the archive lacks %.200q", ErrContent, name)
}

// small returns the content of a file that must be short.
func (a *archive) small(name string, most int64) ([]byte, error) {
	s, err := a.open(name)
	if err != nil {
		return nil, err
	}
	if s.Size() > most {
		return nil, fmt.Errorf("%w: %.200q has %d bytes", ErrContent, name, s.Size())
	}
	b, err := io.ReadAll(s)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	return b, nil
}

// source finds out what kind of archive it is.
func (a *archive) source(which string) (source, error) {
	if _, err := a.open("index.json"); err == nil {
		return a.layout(which)
	}
	if _, err := a.open("manifest.json"); err == nil {
		return a.docker(which)
	}
	return source{}, fmt.Errorf("%w: it is neither an OCI layout (no index.json) nor what docker save writes (no manifest.json)", ErrContent)
}

func blobName(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

// layout is the source of an OCI layout.
func (a *archive) layout(which string) (source, error) {
	b, err := a.small("index.json", maxManifest)
	if err != nil {
		return source{}, err
	}
	d, err := pick(b, which)
	if err != nil {
		return source{}, err
	}
	for range maxIndexes {
		if b, err = a.small(blobName(d.Digest), maxManifest); err != nil {
			return source{}, err
		}
		if got, _, _ := v1.SHA256(bytes.NewReader(b)); got != d.Digest {
			return source{}, fmt.Errorf("%w: %s has the digest %s", ErrContent, d.Digest, got)
		}
		if !isIndex(b) {
			return source{
				manifest: b, digest: d.Digest,
				config: func(context.Context) (io.ReadCloser, error) {
					m, err := parseManifest(b)
					if err != nil {
						return nil, err
					}
					return a.reader(blobName(m.Config.Digest))
				},
				layer: func(_ context.Context, _ int, d v1.Descriptor, _ int64) (io.ReadCloser, int64, error) {
					r, err := a.reader(blobName(d.Digest))
					return r, 0, err
				},
			}, nil
		}
		if d, err = choose(b); err != nil {
			return source{}, err
		}
	}
	return source{}, fmt.Errorf("%w: indexes lie in each other more than %d deep", ErrContent, maxIndexes)
}

func (a *archive) reader(name string) (io.ReadCloser, error) {
	s, err := a.open(name)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(s), nil
}

// pick returns the entry of a layout's index that is meant.
func pick(b []byte, which string) (v1.Descriptor, error) {
	ix, err := v1.ParseIndexManifest(bytes.NewReader(b))
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("%w: index.json cannot be read: %w", ErrContent, err)
	}
	if which == "" {
		return choose(b)
	}
	var have []string
	for _, d := range ix.Manifests {
		name := d.Annotations[annotationName]
		if name == which || d.Annotations["io.containerd.image.name"] == which || d.Digest.String() == which {
			return d, nil
		}
		have = append(have, name)
	}
	return v1.Descriptor{}, fmt.Errorf("%w: no image %q in it; there is %q", ErrContent, which, have)
}

// dockerEntry is an image in docker's manifest.json.
type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// docker is the source of an archive that docker save wrote. It has no manifest: one is made, the same each time.
func (a *archive) docker(which string) (source, error) {
	b, err := a.small("manifest.json", maxManifest)
	if err != nil {
		return source{}, err
	}
	var all []dockerEntry
	if err := json.Unmarshal(b, &all); err != nil {
		return source{}, fmt.Errorf("%w: manifest.json cannot be read: %w", ErrContent, err)
	}
	var have []string
	at := -1
	for i, e := range all {
		if which == "" && len(all) == 1 || slices.Contains(e.RepoTags, which) {
			at = i
		}
		have = append(have, e.RepoTags...)
	}
	if at < 0 {
		return source{}, fmt.Errorf("%w: say which of its images is meant: %s", ErrContent, strings.Join(have, ", "))
	}
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1}
	if m.Config, err = a.describe(all[at].Config, types.OCIConfigJSON); err != nil {
		return source{}, err
	}
	for _, name := range all[at].Layers {
		d, err := a.describe(name, "")
		if err != nil {
			return source{}, err
		}
		m.Layers = append(m.Layers, d)
	}
	if b, err = json.Marshal(m); err != nil {
		return source{}, fmt.Errorf("encode a manifest: %w", err)
	}
	return source{
		manifest: b,
		config:   func(context.Context) (io.ReadCloser, error) { return a.reader(all[at].Config) },
		layer: func(_ context.Context, i int, _ v1.Descriptor, _ int64) (io.ReadCloser, int64, error) {
			r, err := a.reader(all[at].Layers[i])
			return r, 0, err
		},
	}, nil
}

// describe hashes a file of the archive. An empty type is a layer's, by how it is compressed.
func (a *archive) describe(name string, as types.MediaType) (v1.Descriptor, error) {
	s, err := a.open(name)
	if err != nil {
		return v1.Descriptor{}, err
	}
	var head [4]byte
	n, _ := s.ReadAt(head[:], 0)
	h, size, err := v1.SHA256(s)
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("import: %w", err)
	}
	switch {
	case as != "":
	case n > 1 && head[0] == 0x1f && head[1] == 0x8b:
		as = types.OCILayer
	case n == 4 && string(head[:]) == "\x28\xb5\x2f\xfd":
		as = types.OCILayerZStd
	default:
		as = types.OCIUncompressedLayer
	}
	return v1.Descriptor{MediaType: as, Digest: h, Size: size}, nil
}
