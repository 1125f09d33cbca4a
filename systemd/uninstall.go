package systemd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
)

// UninstallOptions say what [Manager.Uninstall] removes.
type UninstallOptions struct {
	User  string   // of a system service
	Dirs  []string // of a user's service: state and cache
	Purge bool     // remove user, subordinate ids, state and cache, too
	Force bool     // remove units that somebody edited
}

// Uninstall returns the steps that are left to have the service gone, and says what stays.
func (m *Manager) Uninstall(_ context.Context, o UninstallOptions) (steps []Step, stays []string, err error) {
	if m.System && os.Geteuid() != 0 {
		return nil, nil, ErrNotRoot
	}
	dir, err := m.UnitDir()
	if err != nil {
		return nil, nil, err
	}
	if steps, err = m.unitRemoval(dir, o.Force); err != nil {
		return nil, nil, err
	}
	dirs := o.Dirs
	if m.System {
		dirs = []string{systemState, systemCache, systemRuntime}
	}
	for _, dir := range dirs {
		there, err := exists(dir)
		switch {
		case err != nil:
			return nil, nil, err
		case there && (o.Purge || dir == systemRuntime):
			steps = append(steps, removeAll(dir))
		case there:
			stays = append(stays, dir)
		}
	}
	if !m.System {
		return steps, stays, nil
	}
	account, err := user.Lookup(o.User)
	if _, none := errors.AsType[user.UnknownUserError](err); none {
		return steps, stays, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("look up user %s: %w", o.User, err)
	}
	switch {
	case !isServiceUser(account):
		stays = append(stays, fmt.Sprintf("user %s, which install did not make", o.User))
	case o.Purge:
		steps = append(steps, m.command("userdel", o.User)) // and its lines in /etc/subuid and /etc/subgid
	default:
		stays = append(stays, fmt.Sprintf("user %s with its subordinate ids", o.User))
	}
	return steps, stays, nil
}

// isServiceUser tells whether install made a user: others are not to be removed, whatever the service ran as.
func isServiceUser(account *user.User) bool {
	return account.Name == serviceComment && account.HomeDir == systemState
}

// unitRemoval stops what runs and removes the units.
func (m *Manager) unitRemoval(dir string, force bool) ([]Step, error) {
	var edited EditedError
	var files []Step
	for _, name := range []string{SocketName, ServiceName} {
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the unit: %w", err)
		}
		if !force && OriginOf(string(text)) != OriginOurs {
			edited.Paths = append(edited.Paths, path)
		}
		files = append(files, removeAll(path))
	}
	if len(edited.Paths) > 0 {
		return nil, &edited
	}
	if len(files) == 0 {
		return nil, nil
	}
	steps := []Step{m.control("disable", "--now", SocketName, ServiceName)}
	steps = append(steps, files...)
	steps = append(steps, m.control("daemon-reload"))
	// A unit that failed is remembered until then. One that did not is unknown by now, which is as good.
	reset := m.control("reset-failed", SocketName, ServiceName)
	run := reset.Do
	reset.Do = func(ctx context.Context) error {
		_ = run(ctx)
		return nil
	}
	return append(steps, reset), nil
}
