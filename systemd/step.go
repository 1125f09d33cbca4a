package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Step is one change of the host.
type Step struct {
	Text string // in the imperative: "write /etc/systemd/system/soulbox.socket"
	Do   func(context.Context) error
}

// command is the step of running a program.
func (m *Manager) command(name string, args ...string) Step {
	return Step{commandLine(name, args), func(ctx context.Context) error {
		_, err := m.run(ctx, name, args...)
		return err
	}}
}

// control is the step of telling systemd something.
func (m *Manager) control(args ...string) Step { return m.command("systemctl", m.arguments(args)...) }

// makeDir is the step of making a directory of an owner's, closed to others.
func makeDir(path string, uid, gid func() (int, error)) Step {
	return Step{"make " + path, func(context.Context) error {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return fmt.Errorf("make %s: %w", path, err)
		}
		u, err := uid()
		if err != nil {
			return err
		}
		g, err := gid()
		if err != nil {
			return err
		}
		if err := os.Chown(path, u, g); err != nil {
			return fmt.Errorf("give %s to its user: %w", path, err)
		}
		return nil
	}}
}

// writeUnit is the step of writing a unit. It appears whole or not at all.
func writeUnit(dir string, u Unit) Step {
	path := filepath.Join(dir, u.Name)
	return Step{"write " + path, func(context.Context) error {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make the directory of units: %w", err)
		}
		temp := filepath.Join(dir, "."+u.Name+".new")
		if err := os.WriteFile(temp, []byte(u.Text), 0o644); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		if err := os.Rename(temp, path); err != nil {
			return fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(temp)))
		}
		return nil
	}}
}

// removeAll is the step of removing a file or directory with all that is in it.
func removeAll(path string) Step {
	return Step{"remove " + path, func(context.Context) error {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("remove %s: %w", path, err)
		}
		return nil
	}}
}

// exists tells whether something lies at path.
func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", path, err)
	}
	return true, nil
}

// EditedError is returned for units that are not as SoulBox wrote them.
type EditedError struct{ Paths []string }

func (e *EditedError) Error() string {
	return strings.Join(e.Paths, " and ") + ": not as SoulBox wrote it: move your changes to a drop-in (systemctl edit), or lose them with --force"
}
