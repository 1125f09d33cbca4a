package library

import (
	"bufio"
	"compress/bzip2"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/soulbox/soulbox/images/layer"
)

// ratioFloor is what a layer may always be unpacked to, in bytes.
const ratioFloor = 64 << 20

// layerRecord is a layer's layer.json.
type layerRecord struct {
	Bytes   int64       `json:"bytes"`
	Entries int64       `json:"entries"`
	Opaque  bool        `json:"opaque,omitempty"`
	Own     []layer.Own `json:"own,omitempty"`
}

// unpackAll unpacks the layers of an image that are not there yet, whose blobs are.
func (l *Library) unpackAll(ctx context.Context, digest v1.Hash, m *v1.Manifest, c *v1.ConfigFile, report Report) error {
	copies, err := l.ready()
	if err != nil {
		return err
	}
	if copies != nil {
		return l.unpackTree(ctx, digest, m, c, report)
	}
	left, ids := l.o.MaxBytes, chains(c.RootFS.DiffIDs)
	var below []string
	for i, d := range m.Layers {
		rec, err := l.unpack(ctx, piece{d, c.RootFS.DiffIDs[i], ids[i], below}, left, report)
		if err != nil {
			return err
		}
		if rec.Opaque {
			below = nil
		}
		below = append([]string{l.path(layersDir, ids[i], treeName)}, below...)
		if left -= rec.Bytes; left < 0 {
			return fmt.Errorf("%w: the image's files have more than %d bytes", layer.ErrTooLarge, l.o.MaxBytes)
		}
	}
	return nil
}

// piece is a layer of an image.
type piece struct {
	d      v1.Descriptor
	diffID v1.Hash
	id     string   // see chains
	below  []string // the directories of the layers below it
}

// chains returns the names of the directories of layers: the OCI's chain ids. A layer over others is another one than the
// same over nothing, since directories that it does not describe are as they are below it.
func chains(diffIDs []v1.Hash) []string {
	ids := make([]string, len(diffIDs))
	chain := ""
	for i, h := range diffIDs {
		if i == 0 {
			chain = h.String()
		} else {
			sum := sha256.Sum256([]byte(chain + " " + h.String()))
			chain = "sha256:" + hex.EncodeToString(sum[:])
		}
		ids[i] = hexOf(chain)
	}
	return ids
}

// unpack makes sure that one layer is unpacked.
func (l *Library) unpack(ctx context.Context, p piece, left int64, report Report) (layerRecord, error) {
	unlock, err := l.locks.lock(ctx, "layer "+p.id)
	if err != nil {
		return layerRecord{}, err
	}
	defer unlock()
	name := filepath.Join(layersDir, p.id)
	if there, err := exists(l.path(name)); err != nil || there {
		if err != nil {
			return layerRecord{}, err
		}
		return l.layerRecord(p.id)
	}
	var rec layerRecord
	return rec, l.build(name, func(fs string) (any, error) {
		res, err := l.unpackInto(ctx, fs, p, left, report, layer.Unpack)
		rec = layerRecord{Bytes: res.Bytes, Entries: res.Entries, Opaque: res.Opaque, Own: res.Own}
		return rec, err
	})
}

// build makes the directory name with the tree that fill fills and its record, all of it or nothing.
func (l *Library) build(name string, fill func(fs string) (record any, err error)) (err error) {
	tmp, err := os.MkdirTemp(l.path(tmpDir), "unpack-")
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	fs := filepath.Join(tmp, treeName)
	root, _ := l.o.Owner(0)
	if err := errors.Join(os.Mkdir(fs, 0o755), os.Chmod(fs, 0o755), os.Lchown(fs, root, root)); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	record, err := fill(fs)
	if err != nil {
		return err
	}
	b, err := json.Marshal(record)
	if err == nil {
		err = os.WriteFile(filepath.Join(tmp, "layer.json"), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	if err := syncTree(tmp); err != nil {
		return err
	}
	return l.place(tmp, name)
}

type unpackFunc func(ctx context.Context, dir string, r io.Reader, o layer.Options) (layer.Result, error)

// unpackInto unpacks a blob into a directory and checks what it was against its digest.
func (l *Library) unpackInto(ctx context.Context, dir string, p piece, left int64, report Report, do unpackFunc) (layer.Result, error) {
	d := p.d
	f, err := l.openBlob(d.Digest)
	if err != nil {
		return layer.Result{}, err
	}
	defer f.Close()
	counted := &counter{r: f, tell: func(n int64) {
		report(Progress{Stage: StageUnpack, Digest: d.Digest.String(), Done: n, Total: d.Size})
	}}
	plain, err := decompress(counted)
	if err != nil {
		return layer.Result{}, fmt.Errorf("%w: layer %s: %w", ErrContent, d.Digest, err)
	}
	defer plain.Close()
	sum := sha256.New()
	most := max(ratioFloor, d.Size*l.o.MaxRatio)
	bounded := &bound{r: io.TeeReader(plain, sum), left: most}
	res, err := do(ctx, dir, bounded, l.layerOptions(left, p.below))
	switch {
	case bounded.left < 0:
		return res, fmt.Errorf("%w: layer %s of %d bytes unpacks to more than %d", layer.ErrTooLarge, d.Digest, d.Size, most)
	case errors.Is(err, layer.ErrHostile), errors.Is(err, layer.ErrTooLarge):
		return res, fmt.Errorf("layer %s: %w", d.Digest, err)
	case err != nil && isDamage(err):
		return res, fmt.Errorf("%w: layer %s: %w", ErrContent, d.Digest, err)
	case err != nil:
		return res, err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != p.diffID.Hex {
		return res, fmt.Errorf("%w: layer %s has unpacked the digest sha256:%s, not %s", ErrContent, d.Digest, got, p.diffID)
	}
	return res, nil
}

// isDamage tells whether err says that compressed data is bad.
func isDamage(err error) bool {
	return errors.Is(err, gzip.ErrChecksum) || errors.Is(err, gzip.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errDamaged)
}

var errDamaged = errors.New("the compressed data is damaged")

// decompress finds out by the first bytes how r is compressed.
func decompress(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	head, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read: %w", err)
	}
	switch {
	case len(head) > 1 && head[0] == 0x1f && head[1] == 0x8b:
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("decompress: %w", err)
		}
		return z, nil
	case len(head) == 4 && string(head) == "\x28\xb5\x2f\xfd":
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, fmt.Errorf("decompress: %w", err)
		}
		return &wrapped{z.IOReadCloser()}, nil
	case len(head) > 2 && string(head[:3]) == "BZh":
		return &wrapped{io.NopCloser(bzip2.NewReader(b))}, nil
	}
	return io.NopCloser(b), nil
}

// wrapped marks every error of a decompressor.
type wrapped struct{ io.ReadCloser }

func (w *wrapped) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", errDamaged, err)
	}
	return n, err
}

// bound fails once more was read than is left.
type bound struct {
	r    io.Reader
	left int64 // below 0: too much
}

func (b *bound) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, layer.ErrTooLarge
	}
	return n, err
}

// counter tells how much was read.
type counter struct {
	r    io.Reader
	n    int64
	tell func(int64)
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.tell(c.n)
	return n, err
}

// layerRecord reads the record of a layer that is there.
func (l *Library) layerRecord(id string) (rec layerRecord, err error) {
	err = readRecord(l.path(layersDir, id, "layer.json"), &rec)
	return rec, err
}

func readRecord(path string, v any) error {
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		return fmt.Errorf("read the record of a layer: %w", err)
	}
	return nil
}
