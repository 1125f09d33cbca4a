package main_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// newUser makes a user without subordinate ids for the time of a test.
func newUser(t *testing.T) *user.User {
	t.Helper()
	name := fmt.Sprintf("soulnone%d", os.Getpid())
	asRoot(t, "useradd", "--create-home", "--shell", "/bin/sh", name)
	t.Cleanup(func() { asRoot(t, "userdel", "--remove", name) })
	// Some systems give every new user some.
	for file, flag := range map[string]string{"/etc/subuid": "--del-subuids", "/etc/subgid": "--del-subgids"} {
		for _, s := range spansOf(t, file, name) {
			asRoot(t, "usermod", flag, s, name)
		}
	}
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// asRoot runs a command that must not fail.
func asRoot(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Errorf("%s %q: %v: %s", name, args, err, out)
	}
}

// spansOf lists the ids that a user has in a file, as usermod takes them: first-last.
func spansOf(t *testing.T, file, name string) (spans []string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) != 3 || f[0] != name {
			continue
		}
		first, err1 := strconv.Atoi(f[1])
		count, err2 := strconv.Atoi(f[2])
		if err1 == nil && err2 == nil {
			spans = append(spans, fmt.Sprintf("%d-%d", first, first+count-1))
		}
	}
	return spans
}

// soulboxAs makes a command that runs the program under test as another user, in an environment of hers.
func soulboxAs(t *testing.T, u *user.User, args ...string) *exec.Cmd {
	t.Helper()
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Open(binary(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), answerWait)
	t.Cleanup(cancel)
	// By its descriptor: she may not be able to enter the program's directory.
	cmd := exec.CommandContext(ctx, "/proc/self/fd/3", args...)
	cmd.ExtraFiles, cmd.Dir = []*os.File{program}, u.HomeDir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "HOME=" + u.HomeDir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return cmd
}

// TestUserWithoutSubordinateIDs: who has none is told the command that gives some, by serve, run and doctor; and it does.
func TestUserWithoutSubordinateIDs(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("only root can be another user; the tests are run as root, too")
		return
	}
	u := newUser(t)
	said := refused(t, soulboxAs(t, u, "serve", "--listen", "127.0.0.1:0", "--state-dir", filepath.Join(u.HomeDir, "state")))
	what, command, ok := strings.Cut(said, "run as root: ")
	command, _, _ = strings.Cut(command, "\n")
	if !ok || !strings.Contains(what, "no subordinate ids for user "+u.Username) {
		t.Fatalf("serve says %q, want what %s lacks and what to run", said, u.Username)
	}
	run := func() (status int, stdout, stderr string) {
		cmd := soulboxAs(t, u, "run", "-l", "python", "-")
		var out, errs bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader("import os\nprint('in', os.getuid())"), &out, &errs
		_ = cmd.Run() // the status is what counts
		return cmd.ProcessState.ExitCode(), out.String(), errs.String()
	}
	if status, _, errs := run(); status != 125 || !strings.Contains(errs, command) {
		t.Errorf("run: exit status %d, %q, want 125 and %q in it", status, errs, command)
	}
	doctor := soulboxAs(t, u, "doctor")
	out, _ := doctor.CombinedOutput() // the status is what counts
	if doctor.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), command) {
		t.Errorf("doctor: exit status %d, %s, want 1 and %q in it", doctor.ProcessState.ExitCode(), out, command)
	}
	asRoot(t, "sh", "-c", command)
	if status, out, errs := run(); status != 0 || out != "in 1000\n" {
		t.Errorf("after %q: exit status %d, %q, %q, want the program's output", command, status, out, errs)
	}
	t.Run("strict", func(t *testing.T) {
		strict(t, filepath.Join(u.HomeDir, "strict"), func(args ...string) *exec.Cmd { return soulboxAs(t, u, args...) })
	})
}
