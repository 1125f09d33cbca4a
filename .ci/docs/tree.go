package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// environment is what a document's shell has. It is a newcomer's, but for what says where modules and packages come from.
func (s *site) environment(ctx context.Context, home, work, address string) []string {
	path := []string{filepath.Join(work, "bin"), s.tools}
	if goTool, err := exec.LookPath("go"); err == nil {
		path = append(path, filepath.Dir(goTool))
	}
	env := []string{
		"HOME=" + home, "LANG=C.UTF-8", "PATH=" + strings.Join(path, ":") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"SOULBOX_LISTEN=" + address, "SOULBOX_STATE_DIR=" + filepath.Join(home, ".local/state/soulbox"),
		"SOULBOX_CACHE_DIR=" + filepath.Join(s.dir, "cache"),
	}
	if out, err := exec.CommandContext(ctx, "go", "env", "GOCACHE", "GOMODCACHE", "GOPROXY", "GONOSUMDB", "GOSUMDB", "GOFLAGS").Output(); err == nil {
		values := strings.Split(string(out), "\n")
		for i, name := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GONOSUMDB", "GOSUMDB", "GOFLAGS"} {
			env = append(env, name+"="+values[i])
		}
	}
	for _, name := range []string{"GOCOVERDIR", "NODE_EXTRA_CA_CERTS", "http_proxy", "https_proxy", "no_proxy"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	if real, err := os.UserHomeDir(); err == nil {
		env = append(env, "NPM_CONFIG_USERCONFIG="+filepath.Join(real, ".npmrc"), "NPM_CONFIG_CACHE="+filepath.Join(real, ".npm"))
	}
	return env
}

// trackedFiles lists the files of the clone, those that are new too.
func trackedFiles(ctx context.Context) ([]string, error) {
	out, err := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return nil, fmt.Errorf("list the files of the clone: %w", err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"), nil
}

// copyTree copies the clone to work, with bin/soulbox in it, and makes a home.
func (s *site) copyTree(work, home string) error {
	for _, d := range []string{filepath.Join(work, "bin"), home} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
	}
	if err := os.Symlink(s.soulbox, filepath.Join(work, "bin/soulbox")); err != nil {
		return fmt.Errorf("place soulbox: %w", err)
	}
	for _, name := range s.files {
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed, and not committed yet
		}
		if err != nil {
			return fmt.Errorf("copy the clone: %w", err)
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("copy the clone: %w", err)
		}
		to := filepath.Join(work, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return fmt.Errorf("copy the clone: %w", err)
		}
		if err := os.WriteFile(to, content, info.Mode().Perm()); err != nil {
			return fmt.Errorf("copy the clone: %w", err)
		}
	}
	return nil
}

// removeAll removes a directory with files of the user's subordinate ids, which only their namespace's root may remove.
func removeAll(ctx context.Context, dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	out, err := exec.CommandContext(ctx, "unshare", "--map-root-user", "--map-auto", "rm", "-rf", dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("remove %s: %w: %s", dir, err, bytes.TrimSpace(out))
	}
	return nil
}
