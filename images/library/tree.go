package library

import (
	"context"
	"fmt"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/soulbox/soulbox/images/layer"
)

// treeRecord is the layer.json of an image in one tree.
type treeRecord struct {
	User string      `json:"user"`
	Own  []layer.Own `json:"own,omitempty"`
}

// unpackTree unpacks all layers of an image into one tree, where overlayfs cannot be used. Nothing of it is shared.
func (l *Library) unpackTree(ctx context.Context, digest v1.Hash, m *v1.Manifest, c *v1.ConfigFile, report Report) error {
	unlock, err := l.locks.lock(ctx, "tree "+digest.Hex)
	if err != nil {
		return err
	}
	defer unlock()
	name := filepath.Join(treesDir, digest.Hex)
	if there, err := exists(l.path(name)); err != nil || there {
		return err
	}
	return l.build(name, func(fs string) (any, error) {
		rec, left := treeRecord{}, l.o.MaxBytes
		for i, d := range m.Layers {
			res, err := l.unpackInto(ctx, fs, piece{d: d, diffID: c.RootFS.DiffIDs[i]}, left, report, layer.Apply)
			if err != nil {
				return nil, err
			}
			if left -= res.Bytes; left < 0 {
				return nil, fmt.Errorf("%w: the image's files have more than %d bytes", layer.ErrTooLarge, l.o.MaxBytes)
			}
			rec.Own = append(rec.Own, res.Own...)
		}
		var err error
		rec.User, err = l.fillTop(fs, fs, c.Config.User)
		return rec, err
	})
}
