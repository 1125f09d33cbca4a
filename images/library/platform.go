package library

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// maxIndexes bounds how deep indexes may lie in each other.
const maxIndexes = 4

// checkPlatform returns why programs of an image cannot run here.
func checkPlatform(c *v1.ConfigFile) error {
	if c.OS != "" && c.OS != "linux" || c.Architecture != "" && c.Architecture != runtime.GOARCH {
		return fmt.Errorf("%w: it is for %s/%s, and this host is linux/%s", ErrContent, c.OS, c.Architecture, runtime.GOARCH)
	}
	return nil
}

// choose returns the entry of an index that is for this host: the first that says so, or else the only one.
func choose(b []byte) (v1.Descriptor, error) {
	ix, err := v1.ParseIndexManifest(bytes.NewReader(b))
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("%w: an index cannot be read: %w", ErrContent, err)
	}
	for _, d := range ix.Manifests {
		if d.Platform != nil && d.Platform.OS == "linux" && d.Platform.Architecture == runtime.GOARCH {
			return d, nil
		}
	}
	if len(ix.Manifests) == 1 && ix.Manifests[0].Platform == nil {
		return ix.Manifests[0], nil
	}
	return v1.Descriptor{}, fmt.Errorf("%w: none of %d images is for linux/%s", ErrContent, len(ix.Manifests), runtime.GOARCH)
}

// isIndex tells what a manifest is by its own word.
func isIndex(b []byte) bool {
	var m struct {
		Manifests []json.RawMessage `json:"manifests"`
	}
	return json.Unmarshal(b, &m) == nil && m.Manifests != nil
}
