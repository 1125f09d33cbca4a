package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// searchPath is where programs lie on the host, as inside sandboxes.
const searchPath = "/usr/local/go/bin:/usr/local/bin:/usr/bin:/bin"

// bare runs programs on the host, each run in a new directory. Compilers that keep a cache keep it between runs, as a
// user's would.
type bare struct{ dir string }

func newBare() (*bare, error) {
	dir, err := os.MkdirTemp("", "soulbench-*")
	if err != nil {
		return nil, fmt.Errorf("make directory for bare runs: %w", err)
	}
	return &bare{dir}, nil
}

func (b *bare) Close() error { return os.RemoveAll(b.dir) }

// run runs p and returns the time its commands took.
func (b *bare) run(ctx context.Context, p Program) (_ time.Duration, err error) {
	dir, err := os.MkdirTemp(b.dir, "run-*")
	if err != nil {
		return 0, fmt.Errorf("make directory for %s: %w", p.Language, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, cmp.Or(p.Host.File, p.File))
	if err := os.WriteFile(file, []byte(cmp.Or(p.Host.Code, p.Code)), 0o600); err != nil {
		return 0, fmt.Errorf("write program: %w", err)
	}
	start := time.Now()
	var out []byte
	for _, step := range p.Host.Steps {
		if out, err = b.step(ctx, dir, p.Stdin, step); err != nil {
			return 0, err
		}
	}
	took := time.Since(start)
	if string(out) != p.Stdout {
		return 0, fmt.Errorf("%s on the host printed %q, want %q", p.Language, out, p.Stdout)
	}
	return took, nil
}

// step runs one command in dir and returns what it printed.
func (b *bare) step(ctx context.Context, dir, stdin string, args []string) ([]byte, error) {
	path, err := find(args[0], dir)
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, path, args[1:]...)
	c.Dir, c.Stdin = dir, strings.NewReader(stdin)
	c.Env = []string{"PATH=" + searchPath, "HOME=" + b.dir, "LANG=C.UTF-8", "CGO_ENABLED=0", "GOTOOLCHAIN=local", "GOTELEMETRY=off"}
	out, err := c.Output()
	if err != nil {
		if x, ok := errors.AsType[*exec.ExitError](err); ok {
			return nil, fmt.Errorf("run %q on the host: %w: %s", args, err, tail(string(x.Stderr)))
		}
		return nil, fmt.Errorf("run %q on the host: %w", args, err)
	}
	return out, nil
}

// find returns the absolute path of a command: one in dir, or by name in searchPath.
func find(name, dir string) (string, error) {
	if strings.Contains(name, "/") {
		return filepath.Join(dir, name), nil
	}
	for _, d := range filepath.SplitList(searchPath) {
		path := filepath.Join(d, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("find %s in %s: %w", name, searchPath, exec.ErrNotFound)
}
