package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/soulbox/soulbox/images"
)

// Names of the embedded programs and the directories of the run directory that they go to.
const (
	assetAgent     = "agent"
	assetLauncher  = "launcher"
	assetTranspile = "transpile"
	assetReady     = "ready"

	binDir   = "bin"   // bound on images.SoulBinDir
	toolsDir = "tools" // bound on images.ToolsDir
)

// install puts the embedded programs and the root file system's skeleton into the run directory, in place of those of
// an earlier daemon.
func (e *Engine) install(ctx context.Context) error {
	for dir, names := range map[string][]string{
		binDir:   {assetAgent, assetLauncher},
		toolsDir: {assetTranspile, assetReady},
	} {
		dir = filepath.Join(e.o.RunDir, dir)
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("install programs: %w", err)
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("install programs: %w", err)
		}
		for _, name := range names {
			b, err := e.o.Assets(name)
			if err != nil {
				return fmt.Errorf("install %s: %w", name, err)
			}
			if err := writeNew(filepath.Join(dir, name), b, 0o755); err != nil {
				return fmt.Errorf("install %s: %w", name, err)
			}
		}
	}
	if err := os.Mkdir(filepath.Join(e.o.RunDir, "boxes"), 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make sandbox directory: %w", err)
	}
	var err error
	if e.root, err = e.buildHost(ctx, "host", e.o.Host); err != nil {
		return err
	}
	if e.o.Sandboxes.Journal == nil {
		return nil
	}
	return e.installSessions(ctx)
}

// buildHost makes a root file system of the host's files, in place of an older one of that name.
func (e *Engine) buildHost(ctx context.Context, name string, o images.HostOptions) (*images.RootFS, error) {
	dir := filepath.Join(e.o.RunDir, "images", name)
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("remove the old root file system: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the root file system: %w", err)
	}
	root, err := images.BuildHost(ctx, dir, o)
	if err != nil {
		return nil, fmt.Errorf("make the root file system: %w", err)
	}
	return root, nil
}
