package main_test

import (
	"bufio"
	"bytes"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// expectedWarnings derives from what doctor finds which warnings a daemon of the same user must have.
func expectedWarnings(t *testing.T, doctor *exec.Cmd) []string {
	t.Helper()
	var out bytes.Buffer
	doctor.Stdout = &out
	if err := doctor.Run(); err != nil {
		t.Fatalf("%v: %v: %s", doctor.Args, err, out.Bytes())
	}
	// Where nothing is writable doctor says that and no more.
	ok := map[string]bool{}
	for _, k := range decode[struct {
		Checks []struct{ Name, Status string }
	}](t, out.Bytes()).Checks {
		if ok[k.Name] = k.Status == "ok"; k.Status == "unknown" && strings.HasPrefix(k.Name, "cgroup.") {
			t.Fatalf("doctor could not tell about %s", k.Name)
		}
	}
	warnings := []string{}
	for _, w := range []struct {
		name   string
		warned bool
	}{
		{"memory-unenforced", !ok["cgroup.memory"]},
		{"swap-unenforced", ok["cgroup.memory"] && !ok["cgroup.swap"]},
		{"cpu-unenforced", !ok["cgroup.cpuacct"]},
		{"processes-unenforced", !ok["cgroup.pids"]},
	} {
		if w.warned {
			warnings = append(warnings, w.name)
		}
	}
	return warnings
}

// strict starts a daemon with --strict, which must start exactly where there is nothing to warn of.
func strict(t *testing.T, state string, command func(args ...string) *exec.Cmd) {
	t.Helper()
	want := expectedWarnings(t, command("doctor", "--json"))
	t.Logf("warnings: %q", want)
	cmd := command("serve", "--strict", "--listen", "127.0.0.1:0", "--state-dir", state)
	if len(want) > 0 {
		said := refused(t, cmd)
		for _, name := range append(want, "--strict") {
			if !strings.Contains(said, name) {
				t.Errorf("it says %q, want %s in it", said, name)
			}
		}
		return
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log logBuffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "http://") {
		t.Errorf("the first line is %q, %v, want a URL; the log:\n%s", line, err, &log)
	}
	_ = cmd.Process.Signal(syscall.SIGTERM) // one that has ended is seen below
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v; the log:\n%s", err, &log)
	}
}

// TestStrict: a daemon warns of what doctor finds, and does not start with --strict if there is anything.
func TestStrict(t *testing.T) {
	t.Parallel()
	command := func(args ...string) *exec.Cmd { return exec.CommandContext(t.Context(), binary(t), args...) }
	d := startDaemon(t)
	info := decode[struct{ Warnings []struct{ Name, Text string } }](t, d.get(t, "/v1/system/info"))
	served := []string{}
	for _, w := range info.Warnings {
		served = append(served, w.Name)
	}
	want := expectedWarnings(t, command("doctor", "--json"))
	slices.Sort(served)
	slices.Sort(want)
	if diff := cmp.Diff(want, served); diff != "" {
		t.Errorf("warnings (-what doctor finds +what the daemon serves):\n%s", diff)
	}
	strict(t, filepath.Join(t.TempDir(), "state"), command)
}
