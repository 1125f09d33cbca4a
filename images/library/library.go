package library

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/soulbox/soulbox/images/layer"
)

// Options configure [Open]. Dir, Mounts and Owner must be set.
type Options struct {
	Dir    string // on disk; made when it is not there
	Mounts string // on a tmpfs that every id can reach: where images are mounted
	// Owner maps the ids of images to those of the file system, see [layer.Options].
	Owner func(id int) (mapped int, own bool)
	// Mountpoints are the directories that a sandbox needs in its root file system.
	Mountpoints []string

	MaxBytes   int64 // of all files of an image, unpacked; default 16 GiB
	MaxEntries int64 // of one layer; default 2,000,000
	MaxRatio   int64 // of a layer unpacked to how it came; default 200. What is below 64 MiB is never too much.

	// Insecure are registries, "host:port", that are spoken to without TLS where they have none; those on this machine
	// always are.
	Insecure []string
	// Keychain has the credentials; default [authn.DefaultKeychain], what docker and podman read.
	Keychain authn.Keychain

	Log *slog.Logger // default: slog.Default

	probe func(*Library) (copies, err error)
}

// names of what is in the directory.
const (
	blobsDir   = "blobs/sha256"
	layersDir  = "layers"
	treesDir   = "trees"
	partialDir = "partial"
	tmpDir     = "tmp"
	indexFile  = "index.json"
	layoutFile = "oci-layout"
	treeName   = "fs"
)

// Library keeps images. Its methods can be called from any goroutine.
type Library struct {
	o     Options
	log   *slog.Logger
	ready func() (copies, err error) // done by the first who needs it, see [Library.prepare]

	mounting sync.Mutex // one image is mounted at a time
	locks    locks

	mu    sync.Mutex
	index *index
	uses  map[string]int // of images, by the digests of their manifests
	pins  map[string]int // of content that is being added, by digest
}

// Open opens the library in a directory and removes what a crash left half written.
func Open(o Options) (*Library, error) {
	o.MaxBytes, o.MaxEntries, o.MaxRatio = cmp.Or(o.MaxBytes, 16<<30), cmp.Or(o.MaxEntries, 2_000_000), cmp.Or(o.MaxRatio, 200)
	if o.Keychain == nil {
		o.Keychain = authn.DefaultKeychain
	}
	if o.probe == nil {
		o.probe = (*Library).probe
	}
	l := &Library{o: o, log: cmp.Or(o.Log, slog.Default()), locks: locks{held: map[string]chan struct{}{}}, uses: map[string]int{}, pins: map[string]int{}}
	if err := os.RemoveAll(l.path(tmpDir)); err != nil {
		return nil, fmt.Errorf("open images: remove what was not finished: %w", err)
	}
	for _, dir := range []string{"", blobsDir, layersDir, treesDir, partialDir, tmpDir} {
		if err := os.MkdirAll(l.path(dir), 0o700); err != nil {
			return nil, fmt.Errorf("open images: %w", err)
		}
	}
	var err error
	if l.index, err = readIndex(l.path(indexFile)); err != nil {
		return nil, fmt.Errorf("open images: %w", err)
	}
	l.ready = sync.OnceValues(l.prepare)
	return l, nil
}

// path returns the path of something in the library.
func (l *Library) path(elem ...string) string {
	return filepath.Join(append([]string{l.o.Dir}, elem...)...)
}

// prepare makes what only those need who have images. copies is why images are copied on this host, nil when their layers
// are shared.
func (l *Library) prepare() (copies, err error) {
	if err := l.writeWhole(layoutFile, []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return nil, fmt.Errorf("prepare images: %w", err)
	}
	if err := l.show(); err != nil {
		return nil, fmt.Errorf("prepare images: %w", err)
	}
	if copies, err = l.o.probe(l); err != nil {
		return nil, fmt.Errorf("prepare images: %w", err)
	}
	if copies != nil {
		l.log.Warn("layers of images are copied instead of shared: overlayfs cannot be used for them", "err", copies)
	}
	return copies, nil
}

func (l *Library) layerOptions(left int64, below []string) layer.Options {
	return layer.Options{MaxBytes: left, MaxEntries: l.o.MaxEntries, Owner: l.o.Owner, Below: below}
}

// locks are mutexes by name whose waiters can give up.
type locks struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when it is free again
}

// lock returns what unlocks name.
func (k *locks) lock(ctx context.Context, name string) (unlock func(), err error) {
	for {
		k.mu.Lock()
		wait, taken := k.held[name]
		if !taken {
			mine := make(chan struct{})
			k.held[name] = mine
			k.mu.Unlock()
			return func() {
				k.mu.Lock()
				delete(k.held, name)
				k.mu.Unlock()
				close(mine)
			}, nil
		}
		k.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %s: %w", name, context.Cause(ctx))
		}
	}
}

// pin keeps content from being collected until unpin is called.
func (l *Library) pin(digests ...string) (unpin func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range digests {
		l.pins[d]++
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, d := range digests {
			if l.pins[d]--; l.pins[d] == 0 {
				delete(l.pins, d)
			}
		}
	}
}
