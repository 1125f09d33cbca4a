// Package testvm tests SoulBox as a service, in the test machine: it does nothing elsewhere. See README.md.
package testvm

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds everything that is waited for. The machine is emulated, and what emulates it is busy.
const patience = 5 * time.Minute

func TestMain(m *testing.M) {
	if os.Getenv("SOULBOX_VM") == "" {
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// service is SoulBox as a service of the system or of the user soul.
type service struct {
	scope  string
	dir    string   // of its units
	state  string   // its state directory
	as     []string // runs a command as its operator
	url    string
	listen string
}

func services() []service {
	soul := []string{"runuser", "-u", "soul", "--", "env", "HOME=/home/soul", "USER=soul", "XDG_RUNTIME_DIR=/run/user/1000"}
	return []service{
		{scope: "system", dir: "/etc/systemd/system", state: "/var/lib/soulbox", url: "http://127.0.0.1:4444", listen: "127.0.0.1:4444"},
		{scope: "user", dir: "/home/soul/.config/systemd/user", state: "/home/soul/.local/state/soulbox", as: soul, url: "http://127.0.0.1:4445", listen: "127.0.0.1:4445"},
	}
}

// try runs a command as the service's operator and returns all that it prints.
func (s service) try(args ...string) (string, error) {
	line := append(append([]string{}, s.as...), args...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (s service) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.try(args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// refused runs a command that must fail, and say so.
func (s service) refused(t *testing.T, want string, args ...string) {
	t.Helper()
	if out, err := s.try(args...); err == nil || !strings.Contains(out, want) {
		t.Errorf("%s: %v, want it to fail with %q:\n%s", strings.Join(args, " "), err, want, out)
	}
}

func (s service) soulbox(t *testing.T, args ...string) string {
	t.Helper()
	return s.run(t, append([]string{"soulbox"}, args...)...)
}

// systemd runs soulbox systemd COMMAND for this service.
func (s service) systemd(t *testing.T, command string, args ...string) string {
	t.Helper()
	return s.soulbox(t, append([]string{"systemd", command, "--" + s.scope}, args...)...)
}

func (s service) systemctl(t *testing.T, args ...string) string {
	t.Helper()
	return s.run(t, append([]string{"systemctl", "--" + s.scope}, args...)...)
}

// status is what soulbox systemd status --json says.
type status struct {
	Installed       bool
	Service, Socket struct{ Active, Enabled, Result string }
	MainPID         string
	Watchdog        string
	Restarts        string
	Delegated       []string
}

func (s service) status(t *testing.T) (st status) {
	t.Helper()
	out, err := s.try("soulbox", "systemd", "status", "--"+s.scope, "--json") // its exit status says whether it runs
	if json.Unmarshal([]byte(out), &st) != nil {
		t.Fatalf("status: %v\n%s", err, out)
	}
	return st
}

// eventually waits until ok is true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// ready waits until the daemon can run programs. The first request starts it.
func (s service) ready(t *testing.T) {
	t.Helper()
	eventually(t, s.scope+" daemon is ready", func() bool {
		_, err := s.try("curl", "-fs", "-m", "60", s.url+"/readyz")
		return err == nil
	})
}

// program runs a program through the daemon.
func (s service) program(t *testing.T, code string, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "main.py")
	if err := os.WriteFile(file, []byte(code), 0o644); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(file); dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o1777); err != nil {
			t.Fatal(err)
		}
	}
	out, _ := s.try(append([]string{"soulbox", "run", "--url", s.url, "--key", s.key(t), "-l", "python"}, append(args, file)...)...)
	return out
}

// key is that of the command line of the service's own user.
func (s service) key(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.state, "cli.key"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// daemon is the pid of the daemon below the supervisor.
func (s service) daemon(t *testing.T) int {
	t.Helper()
	out, err := exec.Command("pgrep", "-f", "^soulbox-daemon").Output()
	if err != nil {
		return 0
	}
	for word := range strings.FieldsSeq(string(out)) {
		group, err := os.ReadFile("/proc/" + word + "/cgroup")
		if err == nil && strings.Contains(string(group), "/user@1000") == (s.scope == "user") {
			pid, err := strconv.Atoi(word)
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	return 0
}

func kill(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatalf("signal %d: %v", pid, err)
	}
}

// sandbox makes a sandbox with a process that goes on, and returns its id.
func (s service) sandbox(t *testing.T) string {
	t.Helper()
	id := s.soulbox(t, "sandbox", "create", "--url", s.url, "--key", s.key(t), "--timeout", "2h")
	s.soulbox(t, "exec", "--url", s.url, "--key", s.key(t), "--detach", id, "sleep", "10000")
	return id
}

// sleeps tells whether the sandbox's process runs.
func (s service) sleeps(t *testing.T, id string) bool {
	t.Helper()
	out, err := s.try("soulbox", "exec", "--url", s.url, "--key", s.key(t), id, "sh", "-c", "grep -l sleep /proc/[0-9]*/comm")
	return err == nil && out != ""
}

// state of a sandbox, as the API says.
func (s service) sandboxState(t *testing.T, id string) string {
	t.Helper()
	return s.run(t, "curl", "-fs", "-H", "Authorization: Bearer "+s.key(t), s.url+"/v1/sandboxes/"+id)
}

func TestFirstBoot(t *testing.T) {
	if os.Getenv("SOULBOX_BOOT") != "1" {
		t.Log("this is another boot")
		return
	}
	for _, s := range services() {
		t.Run(s.scope, func(t *testing.T) {
			t.Run("install", func(t *testing.T) { testInstall(t, s) })
			t.Run("start by socket", func(t *testing.T) { testStart(t, s) })
			if s.scope == "system" { // the machine is slow: one of the two is enough
				t.Run("daemon killed", func(t *testing.T) { testDaemonKilled(t, s) })
				shorterWatchdog(t, s)
			}
			t.Run("supervisor killed", func(t *testing.T) { testSupervisorKilled(t, s) })
			if s.scope == "system" {
				t.Run("watchdog", func(t *testing.T) { testWatchdog(t, s) })
			}
		})
	}
}

func testInstall(t *testing.T, s service) {
	if s.scope == "system" {
		if out, err := services()[1].try("soulbox", "systemd", "install", "--system"); err == nil || !strings.Contains(out, "only root") {
			t.Errorf("a plain user installed a system service: %s", out)
		}
		s.run(t, "install", "-o", "soul", "/usr/local/bin/soulbox", "/opt/souls")
		s.refused(t, "others than root can change /opt/souls", "soulbox", "systemd", "install", "--system", "--exec", "/opt/souls")
		s.run(t, "mv", "/opt/souls", "/tmp/soulbox")
		s.refused(t, "does not see", "soulbox", "systemd", "install", "--system", "--exec", "/tmp/soulbox")
		s.run(t, "rm", "/tmp/soulbox")
	}
	would := s.systemd(t, "install", "--listen", s.listen, "--dry-run")
	if st := s.status(t); st.Installed {
		t.Errorf("--dry-run installed: %+v", st)
	}
	if did := s.systemd(t, "install", "--listen", s.listen); !strings.HasPrefix(did, would) {
		t.Errorf("install printed\n%s\nand --dry-run\n%s", did, would)
	}
	if again := s.systemd(t, "install", "--listen", s.listen); !strings.HasPrefix(again, "it is installed: nothing to do") {
		t.Errorf("install again: %s", again)
	}
	unit := filepath.Join(s.dir, "soulbox.service")
	if out := s.run(t, "systemd-analyze", "--"+s.scope, "verify", unit); out != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(unit, append(text, "# mine\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	s.refused(t, "not as SoulBox wrote it", "soulbox", "systemd", "install", "--"+s.scope, "--listen", s.listen)
	s.refused(t, "not as SoulBox wrote it", "soulbox", "systemd", "uninstall", "--"+s.scope)
	s.systemd(t, "install", "--listen", s.listen, "--force")
	if st := s.status(t); !st.Installed || st.Service.Active != "inactive" || st.Socket.Active != "active" || st.Socket.Enabled != "enabled" {
		t.Errorf("status after install: %+v", st)
	}
}

func testStart(t *testing.T, s service) {
	s.ready(t)
	st := s.status(t)
	if st.Service.Active != "active" || st.Watchdog != "1min" || !strings.Contains(strings.Join(st.Delegated, " "), "memory pids") {
		t.Errorf("status: %+v", st)
	}
	if out := s.program(t, "import os; print(6 * 7, os.getuid())"); out != "42 1000" {
		t.Errorf("a program printed %q", out)
	}
	if out := s.program(t, "x = bytearray(200 << 20)", "--memory", "64MiB"); !strings.Contains(out, "memory limit") {
		t.Errorf("a program beyond its memory: %q", out)
	}
	s.systemctl(t, "reload", "soulbox.service")
	journal := []string{"journalctl", "--" + s.scope, "-u", "soulbox.service", "-o", "json", "--no-pager"}
	eventually(t, "the reload is in the journal, with fields", func() bool {
		out := s.run(t, journal...)
		return strings.Contains(out, `"MESSAGE":"configuration reloaded`) && strings.Contains(out, `"SOULBOX_CHANGED":`) && strings.Contains(out, `"PRIORITY":"6"`)
	})
	if pid := st.MainPID; s.scope == "system" {
		b, err := os.ReadFile("/proc/" + pid + "/status")
		if err != nil || !strings.Contains(string(b), "CapEff:\t0000000000000000") || strings.Contains(string(b), "Uid:\t0") {
			t.Errorf("the supervisor is root or has capabilities: %v\n%s", err, b)
		}
	}
}

func testDaemonKilled(t *testing.T, s service) {
	id := s.sandbox(t)
	before := s.status(t)
	old := s.daemon(t)
	kill(t, old, syscall.SIGKILL)
	eventually(t, "another daemon", func() bool { pid := s.daemon(t); return pid != 0 && pid != old })
	s.ready(t)
	if !s.sleeps(t, id) {
		t.Error("the sandbox's process has ended with the daemon")
	}
	out := s.soulbox(t, "upgrade", "--state-dir", s.state, "/usr/local/bin/soulbox")
	if !strings.Contains(out, "serves, with the sandboxes that lived") {
		t.Errorf("upgrade: %s", out)
	}
	s.ready(t)
	if !s.sleeps(t, id) {
		t.Error("the sandbox's process has ended with the upgrade")
	}
	if after := s.status(t); after.MainPID != before.MainPID || after.Restarts != before.Restarts {
		t.Errorf("the supervisor was started anew: %+v, then %+v", before, after)
	}
}

func testSupervisorKilled(t *testing.T, s service) {
	id := s.sandbox(t)
	before := s.status(t)
	pid, err := strconv.Atoi(before.MainPID)
	if err != nil {
		t.Fatal(err)
	}
	kill(t, pid, syscall.SIGKILL)
	eventually(t, "systemd starts it again", func() bool { st := s.status(t); return st.MainPID != before.MainPID && st.Service.Active == "active" })
	s.ready(t)
	if got := s.sandboxState(t, id); !strings.Contains(got, "SANDBOX_STATE_STOPPED") {
		t.Errorf("the sandbox of before: %s", got)
	}
	// Those in which the daemon tries what its languages are come and go.
	eventually(t, "no control group of a sandbox", func() bool { return s.sandboxes(t) == 0 })
}

// sandboxes counts the control groups of sandboxes, the daemon's own one excepted.
func (s service) sandboxes(t *testing.T) (n int) {
	t.Helper()
	boxes, err := filepath.Glob("/sys/fs/cgroup/*.slice/soulbox.service/soulbox/*/i*")
	if s.scope == "user" {
		boxes, err = filepath.Glob("/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/soulbox.service/soulbox/*/i*")
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, box := range boxes {
		if info, err := os.Stat(box); err == nil && info.IsDir() && !strings.HasPrefix(filepath.Base(box), "io.") {
			n++
		}
	}
	return n
}

// shorterWatchdog is for the next start.
func shorterWatchdog(t *testing.T, s service) {
	t.Helper()
	drop := filepath.Join(s.dir, "soulbox.service.d")
	if err := os.MkdirAll(drop, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(drop, "watchdog.conf"), []byte("[Service]\nWatchdogSec=30\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.systemctl(t, "daemon-reload")
}

// testWatchdog: a daemon that does not answer is ended by systemd, with its supervisor, and started again.
func testWatchdog(t *testing.T, s service) {
	before := s.status(t)
	if before.Watchdog != "30s" {
		t.Errorf("status: %+v, want the watchdog of the drop-in", before)
	}
	kill(t, s.daemon(t), syscall.SIGSTOP)
	eventually(t, "the watchdog ends it", func() bool { st := s.status(t); return st.MainPID != before.MainPID && st.Service.Active == "active" })
	s.ready(t)
	if out := s.run(t, "journalctl", "-u", "soulbox.service", "--no-pager"); !strings.Contains(out, "Watchdog timeout") {
		t.Errorf("no watchdog in the journal:\n%s", out)
	}
	if err := os.RemoveAll(filepath.Join(s.dir, "soulbox.service.d")); err != nil {
		t.Fatal(err)
	}
	s.systemctl(t, "daemon-reload")
}

func TestSecondBoot(t *testing.T) {
	if os.Getenv("SOULBOX_BOOT") != "2" {
		t.Log("this is another boot")
		return
	}
	for _, s := range services() {
		t.Run(s.scope, func(t *testing.T) {
			if st := s.status(t); st.Service.Active == "failed" || st.Socket.Active != "active" {
				t.Errorf("status after a boot: %+v", st)
			}
			s.ready(t)
			if out := s.program(t, "print('booted')"); out != "booted" {
				t.Errorf("a program printed %q", out)
			}
			s.sandbox(t)
			if out := s.systemd(t, "uninstall"); !strings.Contains(out, "what stays: "+s.state) {
				t.Errorf("uninstall: %s", out)
			}
			if out := s.systemd(t, "uninstall", "--purge"); !strings.Contains(out, "remove "+s.state) || strings.Contains(out, "what stays") {
				t.Errorf("uninstall --purge: %s", out)
			}
			if out := s.systemd(t, "uninstall", "--purge"); out != "it is not installed: nothing to do" {
				t.Errorf("uninstall again: %s", out)
			}
		})
	}
	nothingIsLeft(t)
}

// nothingIsLeft looks for everything that a service makes.
func nothingIsLeft(t *testing.T) {
	for _, look := range []string{
		"pgrep -fa 'soulbox(-| )' | grep -v service.test",
		"getent passwd soulbox",
		"getent group soulbox",
		"grep -H soulbox /etc/subuid /etc/subgid",
		"find /sys/fs/cgroup -name '*soulbox*'",
		// The lock of a user's ids goes with her session: other daemons of hers may stand on it.
		"find /etc/systemd /home/soul/.config /home/soul/.local /home/soul/.cache /var/lib /var/cache /run -name '*soulbox*'" +
			" -not -path '/run/systemd/*' -not -path '/run/user/1000/soulbox-ids-*.lock' 2>/dev/null",
		"grep soulbox /proc/mounts",
		"systemctl list-units --all --no-legend '*soulbox*'",
	} {
		out, err := exec.Command("sh", "-c", look).Output()
		if text := strings.TrimSpace(string(out)); text != "" {
			t.Errorf("%s: %v\n%s", look, err, text)
		}
	}
	if t.Failed() {
		fmt.Println("the service left the above")
	}
}
