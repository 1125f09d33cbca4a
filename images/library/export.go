package library

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Export writes an image as a tar archive: an OCI layout that docker load reads too. The same image is the same bytes.
func (l *Library) Export(tenant, name string, w io.Writer) error {
	l.mu.Lock()
	d, err := l.index.find(tenant, name)
	if err != nil {
		l.mu.Unlock()
		return err
	}
	release := l.holdLocked(d.Digest.String())
	l.mu.Unlock()
	defer release()
	m, _, err := l.read(d)
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	if err := l.export(out, d, m); err != nil {
		return fmt.Errorf("export %s: %w", name, err)
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("export %s: %w", name, err)
	}
	return nil
}

func (l *Library) export(out *tar.Writer, d v1.Descriptor, m *v1.Manifest) error {
	called := d.Annotations[annotationName]
	docker := dockerEntry{Config: blobName(m.Config.Digest), RepoTags: []string{called}}
	blobs := []v1.Hash{d.Digest, m.Config.Digest}
	for _, layer := range m.Layers {
		blobs = append(blobs, layer.Digest)
		docker.Layers = append(docker.Layers, blobName(layer.Digest))
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{{
		MediaType: m.MediaType, Digest: d.Digest, Size: d.Size, Annotations: map[string]string{annotationName: called},
	}}}
	for _, f := range []struct {
		name string
		v    any
	}{{layoutFile, map[string]string{"imageLayoutVersion": "1.0.0"}}, {indexFile, index}, {"manifest.json", []dockerEntry{docker}}} {
		b, err := json.Marshal(f.v)
		if err != nil {
			return fmt.Errorf("encode %s: %w", f.name, err)
		}
		if err := writeEntry(out, f.name, b); err != nil {
			return err
		}
	}
	seen := map[v1.Hash]bool{}
	for _, h := range blobs {
		if seen[h] {
			continue
		}
		seen[h] = true
		if err := l.exportBlob(out, h); err != nil {
			return err
		}
	}
	return nil
}

func (l *Library) exportBlob(out *tar.Writer, h v1.Hash) error {
	f, err := l.openBlob(h)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read blob %s: %w", h, err)
	}
	if err := out.WriteHeader(header(blobName(h), info.Size())); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if _, err := io.Copy(out, f); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func header(name string, size int64) *tar.Header {
	return &tar.Header{Name: name, Size: size, Mode: 0o644, Typeflag: tar.TypeReg, Format: tar.FormatPAX}
}

// writeEntry writes a file whose content is at hand.
func writeEntry(out *tar.Writer, name string, content []byte) error {
	err := out.WriteHeader(header(name, int64(len(content))))
	if err == nil {
		_, err = out.Write(content)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
