package systemd

import (
	"context"
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeSystemctl keeps what a user's service manager is told.
type fakeSystemctl struct {
	told    []string
	enabled bool
	active  bool
	fail    string // the command that fails
}

func (f *fakeSystemctl) run(_ context.Context, name string, args ...string) (string, error) {
	line := commandLine(name, args)
	f.told = append(f.told, line)
	switch {
	case f.fail != "" && strings.Contains(line, f.fail):
		return "", errors.New("it fails")
	case strings.Contains(line, " show "):
		state := map[bool][2]string{true: {"enabled", "active"}, false: {"disabled", "inactive"}}
		return "UnitFileState=" + state[f.enabled][0] + "\nActiveState=" + state[f.active][1] + "\n", nil
	case strings.Contains(line, " enable "):
		f.enabled = true
	case strings.Contains(line, " start "):
		f.active = true
	case strings.Contains(line, " disable --now "):
		f.enabled, f.active = false, false
	}
	return "", nil
}

// newUserManager returns a manager of units in a directory of their own.
func newUserManager(t *testing.T) (*Manager, *fakeSystemctl, string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	f := &fakeSystemctl{}
	return &Manager{run: f.run}, f, filepath.Join(dir, "systemd/user")
}

func take(t *testing.T, steps []Step) (texts []string) {
	t.Helper()
	for _, s := range steps {
		texts = append(texts, s.Text)
		if err := s.Do(t.Context()); err != nil {
			t.Fatalf("%s: %v", s.Text, err)
		}
	}
	return texts
}

var userOptions = InstallOptions{Units: UnitOptions{Exec: "/usr/bin/soulbox", Listen: "127.0.0.1:4444", Socket: "/state/soulbox.sock"}}

func TestInstallAndUninstall(t *testing.T) {
	m, f, dir := newUserManager(t)
	steps, err := m.Install(t.Context(), userOptions)
	if err != nil {
		t.Fatal(err)
	}
	socket, service := filepath.Join(dir, SocketName), filepath.Join(dir, ServiceName)
	want := []string{"write " + socket, "write " + service, "systemctl --user daemon-reload", "systemctl --user enable soulbox.socket", "systemctl --user start soulbox.socket"}
	f.told = nil
	if diff := cmp.Diff(want, take(t, steps)); diff != "" {
		t.Errorf("install, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(want[2:], f.told); diff != "" {
		t.Errorf("systemctl was told, -want +got:\n%s", diff)
	}
	if steps, err = m.Install(t.Context(), userOptions); err != nil || len(steps) > 0 {
		t.Errorf("install again = %v, %v, want nothing to do", steps, err)
	}
	changed := userOptions
	changed.Units.Listen = "127.0.0.1:5555"
	if steps, err = m.Install(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"write " + socket, "systemctl --user daemon-reload"}, take(t, steps)); diff != "" {
		t.Errorf("install with another address, -want +got:\n%s", diff)
	}
	state := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	o := UninstallOptions{Dirs: []string{state, state + "-none"}}
	steps, stays, err := m.Uninstall(t.Context(), o)
	if err != nil || !cmp.Equal(stays, []string{state}) {
		t.Errorf("uninstall: %v stays, %v", stays, err)
	}
	want = []string{"systemctl --user disable --now soulbox.socket soulbox.service", "remove " + socket, "remove " + service,
		"systemctl --user daemon-reload", "systemctl --user reset-failed soulbox.socket soulbox.service"}
	if diff := cmp.Diff(want, take(t, steps)); diff != "" {
		t.Errorf("uninstall, -want +got:\n%s", diff)
	}
	o.Purge = true
	if steps, stays, err = m.Uninstall(t.Context(), o); err != nil || len(stays) > 0 {
		t.Errorf("uninstall --purge: %v stays, %v", stays, err)
	}
	if diff := cmp.Diff([]string{"remove " + state}, take(t, steps)); diff != "" {
		t.Errorf("uninstall --purge, -want +got:\n%s", diff)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the directory of units: %v, %v", left, err)
	}
}

// TestEditedUnits: what somebody wrote is neither replaced nor removed, unless that is asked for.
func TestEditedUnits(t *testing.T) {
	m, _, dir := newUserManager(t)
	path := filepath.Join(dir, ServiceName)
	for _, text := range []string{"[Service]\nExecStart=/mine\n", sign("[Unit]\n") + "# mine\n"} {
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
		edited := func(err error) bool {
			e, ok := errors.AsType[*EditedError](err)
			return ok && cmp.Equal(e.Paths, []string{path})
		}
		if steps, err := m.Install(t.Context(), userOptions); !edited(err) {
			t.Errorf("install over %q = %v, %v", text, steps, err)
		}
		if steps, _, err := m.Uninstall(t.Context(), UninstallOptions{}); !edited(err) {
			t.Errorf("uninstall of %q = %v, %v", text, steps, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("the unit is %q, %v, want it as it was", got, err)
		}
	}
	force := userOptions
	force.Force = true
	steps, err := m.Install(t.Context(), force)
	if err != nil {
		t.Fatal(err)
	}
	take(t, steps)
	if got, err := os.ReadFile(path); err != nil || OriginOf(string(got)) != OriginOurs {
		t.Errorf("after --force the unit is %q, %v", got, err)
	}
}

func TestStepsFail(t *testing.T) {
	m, f, _ := newUserManager(t)
	f.fail = "enable"
	steps, err := m.Install(t.Context(), userOptions)
	if err != nil {
		t.Fatal(err)
	}
	var failed []string
	for _, s := range steps {
		if s.Do(t.Context()) != nil {
			failed = append(failed, s.Text)
		}
	}
	if diff := cmp.Diff([]string{"systemctl --user enable soulbox.socket"}, failed); diff != "" {
		t.Errorf("failed steps, -want +got:\n%s", diff)
	}
	f.fail = "show"
	if steps, err := m.Install(t.Context(), userOptions); err == nil {
		t.Errorf("install without an answer = %v, want an error", steps)
	}
	f.fail = "reset-failed" // no unit has failed: nobody cares
	steps, _, err = m.Uninstall(t.Context(), UninstallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	take(t, steps)
}

func TestSystemNeedsRoot(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Log("root may; the run as a plain user tests it")
		return
	}
	m := &Manager{System: true}
	if _, err := m.Install(t.Context(), userOptions); !errors.Is(err, ErrNotRoot) {
		t.Errorf("Install = %v, want ErrNotRoot", err)
	}
	if _, _, err := m.Uninstall(t.Context(), UninstallOptions{}); !errors.Is(err, ErrNotRoot) {
		t.Errorf("Uninstall = %v, want ErrNotRoot", err)
	}
}

func TestIsServiceUser(t *testing.T) {
	for _, tt := range []struct {
		account user.User
		want    bool
	}{
		{user.User{Username: "soulbox", Name: "SoulBox", HomeDir: "/var/lib/soulbox"}, true},
		{user.User{Username: "runner", Name: "SoulBox", HomeDir: "/var/lib/soulbox"}, true},
		{user.User{Username: "www-data", Name: "www-data", HomeDir: "/var/www"}, false},
		{user.User{Username: "soulbox", HomeDir: "/var/lib/soulbox"}, false},
		{user.User{Username: "soulbox", Name: "SoulBox", HomeDir: "/home/soulbox"}, false},
	} {
		if got := isServiceUser(&tt.account); got != tt.want {
			t.Errorf("isServiceUser(%+v) = %t, want %t", tt.account, got, tt.want)
		}
	}
}

func TestCheckExecutable(t *testing.T) {
	for _, tt := range []struct{ path, want string }{
		{"/bin/sh", ""},
		{"/home/me/soulbox", "does not see"},
		{"/tmp/soulbox", "does not see"},
		{"/usr/bin/none", "check the executable"},
		{"/dev/shm/none", "check the executable"},
	} {
		err := checkExecutable(tt.path)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("checkExecutable(%s) = %v, want %q", tt.path, err, tt.want)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for _, tt := range []struct {
		text string
		want int // 0: an error
	}{
		{"systemd 252 (252.38-1~deb12u1)\n+PAM +AUDIT\n", 252},
		{"systemd 257.3 (257.3-1)\n", 257},
		{"systemd 258~rc1 (x)", 258},
		{"systemd", 0}, {"", 0}, {"busybox 1", 0}, {"systemd v252", 0},
	} {
		if got, err := parseVersion(tt.text); got != tt.want || (err == nil) != (tt.want != 0) {
			t.Errorf("parseVersion(%q) = %d, %v, want %d", tt.text, got, err, tt.want)
		}
	}
}

func TestStatusOf(t *testing.T) {
	service := parseShow("LoadState=loaded\nUnitFileState=disabled\nActiveState=active\nSubState=running\nResult=success\nMainPID=12\nStatusText=serving = all\n" +
		"WatchdogUSec=1min\nNRestarts=2\nDelegate=yes\nDelegateControllers=pids memory\nNeedDaemonReload=yes\nDropInPaths=\n")
	socket := parseShow("LoadState=loaded\nUnitFileState=enabled\nActiveState=active\nSubState=running\nListen=127.0.0.1:4444 (Stream)\nListen=/run/s.sock (Stream)\n")
	want := ServiceStatus{Scope: "user", Installed: true, MainPID: "12", Text: "serving = all", Watchdog: "1min", Restarts: "2", Systemd: 252,
		Service:   UnitStatus{Enabled: "disabled", Active: "active", State: "running", Result: "success"},
		Socket:    UnitStatus{Enabled: "enabled", Active: "active", State: "running"},
		Delegated: []string{"memory", "pids"}, Listen: []string{"127.0.0.1:4444", "/run/s.sock"},
		Warnings: []string{"the controller cpu is not delegated: its limits are not kept by the kernel", "the units have changed: systemctl --user daemon-reload"}}
	if diff := cmp.Diff(want, statusOf(&Manager{Version: 252}, service, socket)); diff != "" {
		t.Errorf("statusOf, -want +got:\n%s", diff)
	}
	none := statusOf(&Manager{System: true}, parseShow("LoadState=not-found\nActiveState=inactive\nMainPID=0\nWatchdogUSec=infinity\nDelegate=no\n"), nil)
	if none.Installed || none.MainPID != "" || none.Watchdog != "" || none.Scope != "system" || none.Socket.Active != "unknown" || len(none.Warnings) > 0 {
		t.Errorf("statusOf nothing = %+v", none)
	}
}

func TestOpenManagerHere(t *testing.T) {
	m, err := OpenManager(t.Context(), false)
	if os.Getenv("SOULBOX_VM") != "" {
		if err != nil || m.Version < 252 {
			t.Errorf("OpenManager in the test machine = %+v, %v", m, err)
		}
		return
	}
	if err == nil {
		if _, err := m.Status(t.Context()); err != nil {
			t.Errorf("Status: %v", err)
		}
	} else if !errors.Is(err, ErrNoSystemd) && !errors.Is(err, ErrNoSession) {
		t.Errorf("OpenManager = %v, want one of the known reasons", err)
	}
}
