package systemd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/util"
)

// The reasons why there is no service manager to talk to.
var (
	ErrNoSystemd = errors.New("systemd does not run here: start soulbox serve by other means, such as a container's entry point")
	ErrNotRoot   = errors.New("only root can change the system's services: use sudo, or --user for a service of your own")
	ErrNoSession = errors.New("there is no service manager of this user: log in (su and sudo make no session), or have root run loginctl enable-linger")
)

// Manager is a service manager: the system's, or the calling user's. It is told what to do through systemctl, so that
// what SoulBox does is what an operator would type.
type Manager struct {
	System  bool
	Version int // of systemd

	run func(ctx context.Context, name string, args ...string) (string, error)
}

// OpenManager returns the service manager of the system or of the calling user.
func OpenManager(ctx context.Context, system bool) (*Manager, error) {
	if !util.IsRunningSystemd() {
		return nil, ErrNoSystemd
	}
	m := &Manager{System: system, run: output}
	text, err := m.run(ctx, "systemctl", "--version")
	if err != nil {
		return nil, err
	}
	if m.Version, err = parseVersion(text); err != nil {
		return nil, err
	}
	if !system {
		if _, err := m.systemctl(ctx, "show", "--property=Version"); err != nil {
			return nil, fmt.Errorf("%w (%w)", ErrNoSession, err)
		}
	}
	return m, nil
}

// parseVersion reads the first line of systemctl --version: "systemd 252 (252.38-1~deb12u1)".
func parseVersion(text string) (int, error) {
	line, _, _ := strings.Cut(text, "\n")
	words := strings.Fields(line)
	if len(words) >= 2 && words[0] == "systemd" {
		number, _, _ := strings.Cut(words[1], ".") // "257.3", "258~rc1"
		number, _, _ = strings.Cut(number, "~")
		if n, err := strconv.Atoi(number); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("systemctl --version says %q, which names no version", line)
}

// output runs a program and returns its standard output; an error has what it said.
func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", commandLine(name, args), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

func commandLine(name string, args []string) string {
	return strings.Join(append([]string{name}, args...), " ")
}

// Arguments returns what systemctl is told, the choice of the manager included.
func (m *Manager) arguments(args []string) []string {
	if m.System {
		return args
	}
	return append([]string{"--user"}, args...)
}

func (m *Manager) systemctl(ctx context.Context, args ...string) (string, error) {
	return m.run(ctx, "systemctl", m.arguments(args)...)
}

// CommandLine is what an operator types for the same.
func (m *Manager) CommandLine(args ...string) string {
	return commandLine("systemctl", m.arguments(args))
}

// UnitDir is where an operator's units lie.
func (m *Manager) UnitDir() (string, error) {
	if m.System {
		return "/etc/systemd/system", nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the directory of user units: %w", err)
	}
	return filepath.Join(dir, "systemd/user"), nil
}

// Show returns properties of a unit; of one that is not there, what systemd says of such.
func (m *Manager) Show(ctx context.Context, unit string, names ...string) (map[string]string, error) {
	text, err := m.systemctl(ctx, "show", "--property="+strings.Join(names, ","), "--", unit)
	if err != nil {
		return nil, err
	}
	return parseShow(text), nil
}

// parseShow reads lines NAME=VALUE. A property that stands there several times, one for each socket, has its values
// separated by line breaks.
func parseShow(text string) map[string]string {
	properties := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if !ok {
			continue
		}
		if was, again := properties[name]; again {
			value = was + "\n" + value
		}
		properties[name] = value
	}
	return properties
}
