package systemd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// The directories of a system service, as its unit names them.
const (
	systemState   = "/var/lib/soulbox"
	systemCache   = "/var/cache/soulbox"
	systemRuntime = "/run/soulbox-service"
)

// serviceComment is what stands beside a user that install made.
const serviceComment = "SoulBox"

// InstallOptions say what [Manager.Install] makes.
type InstallOptions struct {
	Units UnitOptions
	Force bool // replace units that somebody edited
	// SubordinateIDs returns the arguments of usermod that give the user of a system service its subordinate ids, nil when
	// it has them.
	SubordinateIDs func(user string) ([]string, error)
}

// Install returns the steps that are left to have the service installed, its socket enabled and listening; none when
// all is done.
func (m *Manager) Install(ctx context.Context, o InstallOptions) ([]Step, error) {
	if m.System && os.Geteuid() != 0 {
		return nil, ErrNotRoot
	}
	units, err := Units(o.Units)
	if err != nil {
		return nil, err
	}
	var steps []Step
	if m.System {
		if err := checkExecutable(o.Units.Exec); err != nil {
			return nil, err
		}
		if steps, err = m.accountSteps(o); err != nil {
			return nil, err
		}
	}
	dir, err := m.UnitDir()
	if err != nil {
		return nil, err
	}
	changed, err := unitSteps(dir, units, o.Force)
	if err != nil {
		return nil, err
	}
	if len(changed) > 0 {
		steps = append(append(steps, changed...), m.control("daemon-reload"))
	}
	now, err := m.Show(ctx, SocketName, "UnitFileState", "ActiveState")
	if err != nil {
		return nil, err
	}
	if now["UnitFileState"] != "enabled" {
		steps = append(steps, m.control("enable", SocketName))
	}
	if now["ActiveState"] != "active" {
		steps = append(steps, m.control("start", SocketName))
	}
	return steps, nil
}

// unitSteps writes the units that are not there, or are older.
func unitSteps(dir string, units []Unit, force bool) (steps []Step, err error) {
	var edited EditedError
	for _, u := range units {
		path := filepath.Join(dir, u.Name)
		was, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read the unit: %w", err)
		}
		if string(was) == u.Text {
			continue
		}
		if err == nil && !force && OriginOf(string(was)) != OriginOurs {
			edited.Paths = append(edited.Paths, path)
		}
		steps = append(steps, writeUnit(dir, u))
	}
	if len(edited.Paths) > 0 {
		return nil, &edited
	}
	return steps, nil
}

// accountSteps make the user of a system service, its subordinate ids and its home.
func (m *Manager) accountSteps(o InstallOptions) ([]Step, error) {
	name := o.Units.User
	account, err := user.Lookup(name)
	if _, unknown := errors.AsType[user.UnknownUserError](err); err != nil && !unknown {
		return nil, fmt.Errorf("look up user %s: %w", name, err)
	}
	if err == nil && account.Uid == "0" {
		return nil, fmt.Errorf("user %s is root: choose another with --service-user", name)
	}
	var steps []Step
	if err != nil {
		steps = append(steps, m.command("useradd", "--system", "--user-group", "--home-dir", systemState, "--no-create-home",
			"--shell", "/usr/sbin/nologin", "--comment", serviceComment, name))
	}
	args, err := o.SubordinateIDs(name)
	if err != nil {
		return nil, err
	}
	if args != nil {
		steps = append(steps, m.command("usermod", args...))
	}
	made, err := exists(systemState)
	if err != nil || made {
		return steps, err
	}
	id := func(of func(*user.User) string) func() (int, error) {
		return func() (int, error) { // only then is the user there
			account, err := user.Lookup(name)
			if err != nil {
				return 0, fmt.Errorf("look up user %s: %w", name, err)
			}
			return strconv.Atoi(of(account))
		}
	}
	return append(steps, makeDir(systemState, id(func(u *user.User) string { return u.Uid }), id(func(u *user.User) string { return u.Gid }))), nil
}
