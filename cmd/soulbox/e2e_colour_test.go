package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestColours are on terminals only, and nowhere when the user has said so.
func TestColours(t *testing.T) {
	d := startDaemon(t)
	id := d.soulbox(t, "sandbox", "create", "--name", "coloured")
	file := filepath.Join(t.TempDir(), "main.py")
	if err := os.WriteFile(file, []byte("while True: pass"), 0o600); err != nil {
		t.Fatal(err)
	}
	const escape = "\x1b["
	list := []string{"sandbox", "list"}
	limit := []string{"run", "--timeout", "1s", file}
	wrong := []string{"sandbox", "get", "nobody"}
	for name, tc := range map[string]struct {
		args   []string
		env    []string
		status int
		want   string // that it shows; without one, no colour at all
	}{
		"a state":         {list, nil, 0, "  \x1b[32mrunning\x1b[0m  "},
		"a limit":         {limit, nil, 124, "soulbox: \x1b[33mtime limit: stopped after 1s (--timeout)\x1b[0m\r\n"},
		"an error":        {wrong, nil, 1, "\x1b[31msoulbox:\x1b[0m no sandbox has the id"},
		"NO_COLOR":        {list, []string{"NO_COLOR=1"}, 0, ""},
		"TERM":            {list, []string{"TERM=dumb"}, 0, ""},
		"--color never":   {append([]string{"--color", "never"}, list...), nil, 0, ""},
		"SOULBOX_COLOR":   {wrong, []string{"SOULBOX_COLOR=never"}, 1, ""},
		"--json":          {append(list, "--json"), nil, 0, ""},
		"--format":        {append(list, "--format", "{{.State}}"), nil, 0, ""},
		"-q":              {append(list, "-q"), nil, 0, ""},
		"always NO_COLOR": {append([]string{"--color", "always"}, list...), []string{"NO_COLOR=1"}, 0, "\x1b[32mrunning\x1b[0m"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := d.command(t, tc.args...)
			cmd.Env = append(append(cmd.Env, "TERM=xterm", "NO_COLOR=", "SOULBOX_COLOR="), tc.env...)
			m := startOnTerminal(t, cmd)
			if err := m.rest(t); cmd.ProcessState.ExitCode() != tc.status {
				t.Errorf("soulbox %v: %v, want exit status %d", tc.args, err, tc.status)
			}
			if got := m.seen.String(); got == "" || strings.Contains(got, escape) != (tc.want != "") || !strings.Contains(got, tc.want) {
				t.Errorf("soulbox %v shows %q, want %q, or no colour", tc.args, got, tc.want)
			}
		})
	}
	for _, args := range [][]string{list, limit, wrong} {
		cmd := d.command(t, args...)
		cmd.Env = append(cmd.Env, "TERM=xterm", "NO_COLOR=", "SOULBOX_COLOR=")
		if out, _ := cmd.CombinedOutput(); len(out) == 0 || strings.Contains(string(out), escape) { // the status was seen above
			t.Errorf("soulbox %v says %q in a pipe, want no colour", args, out)
		}
	}
	if out := d.soulbox(t, "--color", "always", "sandbox", "list", "-q"); out != id {
		t.Errorf("--color always sandbox list -q = %q, want %q", out, id)
	}
}
