package main_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestCompletion presses Tab in bash.
func TestCompletion(t *testing.T) {
	d := startDaemon(t)
	id := d.soulbox(t, "sandbox", "create", "--name", "unmistakable")
	// The first look at the languages takes longer than anybody waits for a completion.
	d.soulbox(t, "lang", "list")
	d.eventually("languages are completed at once", answerWait, func() bool {
		return d.soulbox(t, "__complete", "soulbox", "run", "-l", "javas") == "javascript"
	})
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte(d.soulbox(t, "completion", "bash")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir, name := filepath.Split(binary(t))
	s := d.onProgram(t, "bash", "--norc", "--noprofile")
	s.typed(t, "PATH="+dir+":$PATH; source "+script+"; bind 'set bell-style none'; PS1='=''> '\r", "=> ")
	if name != "soulbox" {
		t.Fatalf("the program is called %s, and completion is for soulbox", name)
	}
	for _, tc := range []struct{ typed, want string }{
		{"soulbox comple\t", "soulbox completion "},
		{"soulbox exec unmis\t", "soulbox exec unmistakable "},
		{"soulbox exec -it " + id[:8] + "\t", "soulbox exec -it " + id + " "},
		{"soulbox cp unmis\t", "soulbox cp unmistakable:"},
		{"soulbox run --mem\t", "soulbox run --memory "},
		{"soulbox run -l javas\t", "soulbox run -l javascript "},
	} {
		s.typed(t, "\x15"+tc.typed, tc.want) // Ctrl-U empties the line
	}
	s.typed(t, "\x15exit\r", "exit")
	s.ends(t, 0)

	// Without a daemon there is nothing to complete, and nothing is said.
	cmd := d.command(t, "__complete", "soulbox", "exec", "")
	cmd.Env = append(cmd.Env, "SOULBOX_STATE_DIR="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("completion without a daemon: %v, %q", err, out)
	}
	cmd = d.command(t, "__complete", "soulbox", "run", "-l", "pyth")
	cmd.Env = append(cmd.Env, "SOULBOX_STATE_DIR="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "python\npython3\n" {
		t.Errorf("a language without a daemon: %v, %q, want python and its alias", err, out)
	}
}

// TestCompletionInFish asks fish what it would offer, and TestCompletionInZsh has zsh offer it.
func TestCompletionInFish(t *testing.T) {
	fish, err := exec.LookPath("fish")
	if err != nil {
		need(t, fmt.Errorf("%w: %w", err, errors.ErrUnsupported))
	}
	cmd := exec.Command(fish, "--no-config", "-c", `soulbox completion fish | source; complete -C "soulbox sandb"; complete -C "soulbox run -l pyth"`)
	cmd.Env = []string{"PATH=" + filepath.Dir(binary(t)) + ":/usr/bin:/bin", "HOME=" + t.TempDir(), "SOULBOX_STATE_DIR=" + t.TempDir()}
	if out, err := cmd.Output(); err != nil || string(out) != "sandbox\npython\npython3\n" {
		t.Errorf("fish offers %q, %v, want sandbox, and python with its alias", out, err)
	}
}

func TestCompletionInZsh(t *testing.T) {
	zsh, err := exec.LookPath("zsh")
	if err != nil {
		need(t, fmt.Errorf("%w: %w", err, errors.ErrUnsupported))
	}
	d := startDaemon(t)
	s := d.onProgram(t, zsh, "-f") // no start-up files
	dir := filepath.Dir(binary(t))
	s.typed(t, "PATH="+dir+":$PATH; autoload -Uz compinit; compinit -D; source <(soulbox completion zsh); zle_highlight=(none); PS1='=''> '\r", "=> ")
	s.typed(t, "soulbox sandb\t", "soulbox sandbox ")
	s.typed(t, "crea\t", "create ")
	s.typed(t, "\x15exit\r", "exit")
	if err := s.rest(t); err != nil { // zsh leaves the terminal in its own way
		t.Errorf("zsh: %v", err)
	}
}

// TestCompletionSyntax lets the other shells read their scripts, where there are such shells.
func TestCompletionSyntax(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script, err := exec.Command(binary(t), "completion", shell).Output()
		if err != nil || !strings.Contains(string(script), "__complete") {
			t.Fatalf("soulbox completion %s: %v, %q", shell, err, script)
		}
		cmd := exec.Command(shell, "-n")
		cmd.Stdin = strings.NewReader(string(script))
		if out, err := cmd.CombinedOutput(); err != nil && !errors.Is(err, exec.ErrNotFound) {
			t.Errorf("%s -n: %v, %s", shell, err, out)
		}
	}
}
