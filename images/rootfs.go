package images

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Tree returns the root file system that is all of dir: a distribution of its own, whose files belong to ids as sandboxes
// map them. It is not changed; mountpoints that it lacks belong into a layer over it, see [Mountpoints].
func Tree(dir string) *RootFS { return &RootFS{Dir: dir, source: dir, whole: true} }

// Search returns r with programs looked up in path, directories with ":" in between, as an image's PATH has them.
func (r *RootFS) Search(path string) *RootFS {
	out := *r
	out.search = path
	return &out
}

// Mountpoints returns the directories that a sandbox's mounts need in its root file system, for the recipes of a name each.
func Mountpoints(languages []string) []string {
	dirs := []string{"proc", "sys", "dev", "tmp", WorkDir[1:], SoulDir[1:], SoulBinDir[1:], "opt", "opt/soulbox", ToolsDir[1:], LangDir[1:]}
	for _, l := range languages {
		dirs = append(dirs, LangDir[1:]+"/"+l)
	}
	return dirs
}

// savedRootFS is how a [RootFS] lies on disk.
type savedRootFS struct {
	Dir    string        `json:"dir"`
	Mounts []specs.Mount `json:"mounts"`
	Source string        `json:"source"`
}

// Save writes what [LoadRootFS] reads, all of it or nothing.
func (r *RootFS) Save(path string) error {
	b, err := json.Marshal(savedRootFS{Dir: r.Dir, Mounts: r.Mounts, Source: r.source})
	if err != nil {
		return fmt.Errorf("save root file system: %w", err)
	}
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return fmt.Errorf("save root file system: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("save root file system: %w", err)
	}
	return nil
}

// LoadRootFS returns a root file system that was built before; [io/fs.ErrNotExist] when none was.
func LoadRootFS(path string) (*RootFS, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("load root file system: %w", err)
	}
	var s savedRootFS
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("load root file system from %s: %w", path, err)
	}
	return &RootFS{Dir: s.Dir, Mounts: s.Mounts, source: s.Source}, nil
}
