package main_test

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// refused runs a daemon that must not start, and returns what it says.
func refused(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(startWait, func() { _ = cmd.Process.Signal(syscall.SIGTERM) }) // it did start
	defer late.Stop()
	err, out := cmd.Wait(), said.Bytes()
	if ended, ok := errors.AsType[*exec.ExitError](err); !ok || ended.ExitCode() != 1 {
		t.Errorf("%v: %v, want exit status 1; it says: %s", cmd.Args, err, out)
	}
	if strings.HasPrefix(string(out), "http://") {
		t.Errorf("%v printed a URL: %s", cmd.Args, out)
	}
	return string(out)
}

func TestRefusesToStart(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() }) // the parts run after this function has returned
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "supervisor.json"), []byte(`{"uidBase":3000000000,"gidBase":3000000000,"count":65536}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"port in use", []string{"--listen", taken.Addr().String()}, "address already in use"},
		{"no such address", []string{"--listen", "nowhere"}, "--listen"},
		{"state directory of other ids", []string{"--state-dir", foreign}, "belongs to ids 3000000000+65536"},
		{"size", []string{"--max-memory", "much"}, `--max-memory "much" is not a size`},
		{"log format", []string{"--log-format", "xml"}, "is not auto, text, json or journal"},
		{"argument", []string{"extra"}, "takes no arguments"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"serve", "--listen", "127.0.0.1:0", "--state-dir", filepath.Join(t.TempDir(), "state")}, c.args...)
			if said := refused(t, exec.Command(binary(t), args...)); !strings.Contains(said, c.want) {
				t.Errorf("it says %q, want %q in it", said, c.want)
			}
		})
	}
}
