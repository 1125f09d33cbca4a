package library

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"
)

// Made describes an image of one layer that is made here.
type Made struct {
	Config    Config
	Labels    map[string]string
	CreatedAt time.Time
}

// Make takes an image whose one layer write writes, a tar archive. The same archive and description are the same image.
// write may use the directory tmp, which owner and whatever it runs can reach.
func (l *Library) Make(ctx context.Context, t Target, made Made, owner int, write func(ctx context.Context, w io.Writer, tmp string) error, report Report) (_ Image, err error) {
	if _, err := l.ready(); err != nil {
		return Image{}, err
	}
	f, err := os.CreateTemp(l.path(tmpDir), "make-")
	if err != nil {
		return Image{}, fmt.Errorf("make an image: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if err := l.scratch(owner, func(tmp string) error { return write(ctx, f, tmp) }); err != nil {
		return Image{}, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return Image{}, fmt.Errorf("make an image: %w", err)
	}
	h, size, err := v1.SHA256(f)
	if err != nil {
		return Image{}, fmt.Errorf("make an image: %w", err)
	}
	config, err := json.Marshal(v1.ConfigFile{
		OS: "linux", Architecture: runtime.GOARCH, Created: v1.Time{Time: made.CreatedAt}, RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{h}},
		Config: v1.Config{Env: made.Config.Env, User: made.Config.User, WorkingDir: made.Config.Workdir, Entrypoint: made.Config.Entrypoint,
			Cmd: made.Config.Cmd, Labels: made.Labels},
	})
	if err != nil {
		return Image{}, fmt.Errorf("encode a configuration: %w", err)
	}
	ch, csize, err := v1.SHA256(bytes.NewReader(config))
	if err != nil {
		return Image{}, fmt.Errorf("make an image: %w", err)
	}
	manifest, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: ch, Size: csize},
		Layers: []v1.Descriptor{{MediaType: types.OCIUncompressedLayer, Digest: h, Size: size}},
	})
	if err != nil {
		return Image{}, fmt.Errorf("encode a manifest: %w", err)
	}
	return l.add(ctx, t, source{
		manifest: manifest,
		config: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(config)), nil
		},
		layer: func(context.Context, int, v1.Descriptor, int64) (io.ReadCloser, int64, error) {
			return io.NopCloser(io.NewSectionReader(f, 0, size)), 0, nil
		},
	}, report)
}

// scratch calls fn with a directory on disk that owner owns and every id can reach, which nothing below the library's own
// is.
func (l *Library) scratch(owner int, fn func(tmp string) error) (err error) {
	disk, err := os.MkdirTemp(l.path(tmpDir), "scratch-")
	if err != nil {
		return fmt.Errorf("make a scratch directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(disk)) }()
	if err := errors.Join(os.Chmod(disk, 0o755), os.Lchown(disk, owner, owner)); err != nil {
		return fmt.Errorf("make a scratch directory: %w", err)
	}
	at := filepath.Join(l.o.Mounts, filepath.Base(disk))
	if err := os.Mkdir(at, 0o711); err != nil {
		return fmt.Errorf("make a scratch directory: %w", err)
	}
	defer func() { err = errors.Join(err, unmount(at), os.Remove(at)) }()
	if err := unix.Mount(disk, at, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("show a scratch directory: %w", err)
	}
	return fn(at)
}
