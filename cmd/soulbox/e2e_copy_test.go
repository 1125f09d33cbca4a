package main_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCopy copies files and directories into a sandbox and out again.
func TestCopy(t *testing.T) {
	d := startDaemon(t)
	d.soulbox(t, "sandbox", "create", "--name", "box")
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	big := make([]byte, 5<<20)
	if _, err := rand.Read(big); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(at("src/deep"), 0o755), os.WriteFile(at("src/big"), big, 0o640), os.WriteFile(at("src/deep/run"), []byte("#!/bin/sh\necho ran\n"), 0o755),
		os.Symlink("deep/run", at("src/link"))); err != nil {
		t.Fatal(err)
	}
	inside := func(script string) string { return d.soulbox(t, "exec", "box", "sh", "-c", script) }
	same := func(name string, mode os.FileMode) {
		t.Helper()
		b, err := os.ReadFile(at(name))
		st, err2 := os.Stat(at(name))
		if err := errors.Join(err, err2); err != nil || !bytes.Equal(b, big) || st.Mode() != mode {
			t.Errorf("%s: %d bytes, %v, want what was copied, %v", name, len(b), err, mode)
		}
	}

	d.soulbox(t, "cp", at("src/deep/run"), "box:")
	if got := inside("cd; ./run; stat -c %a run"); got != "ran\n755" {
		t.Errorf("a program that was copied in: %q", got)
	}
	d.soulbox(t, "cp", at("src/big"), "box:new/name")
	d.soulbox(t, "cp", "box:new/name", at("single"))
	same("single", 0o640)

	d.soulbox(t, "cp", "-r", at("src"), "box:tree") // it is not there: it becomes src
	d.soulbox(t, "cp", at("src"), "box:tree")       // it is: src goes into it
	d.soulbox(t, "cp", at("src/."), "box:tree/flat")
	if got := inside("cd; ls tree tree/src tree/flat; tree/src/link"); got != "tree:\nbig\ndeep\nflat\nlink\nsrc\n\ntree/flat:\nbig\ndeep\nlink\n\ntree/src:\nbig\ndeep\nlink\nran" {
		t.Errorf("directories that were copied in: %q", got)
	}
	d.soulbox(t, "cp", "box:tree", dir) // it goes into the directory
	same("tree/src/big", 0o640)
	if got, err := os.Readlink(at("tree/link")); got != "deep/run" {
		t.Errorf("the link is %q, %v", got, err)
	}
	cmd := d.command(t, "cp", "box:tree/deep", "-")
	stream, err := cmd.Output()
	if err != nil || !bytes.Contains(stream, []byte("echo ran")) {
		t.Fatalf("cp to standard output: %v, %d bytes", err, len(stream))
	}
	inside("mkdir ~/piped")
	cmd = d.command(t, "cp", "-", "box:piped")
	cmd.Stdin = bytes.NewReader(stream)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("cp from standard input: %v, %s", err, out)
	}
	if got := inside("cat ~/piped/deep/run"); !strings.Contains(got, "echo ran") {
		t.Errorf("what came from standard input: %q", got)
	}

	// A link out of the directory stays where it is, and is named.
	inside("mkdir ~/bad; ln -s /etc/passwd ~/bad/out; echo fine > ~/bad/fine")
	cmd = d.command(t, "cp", "box:bad", at("bad"))
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 || string(out) != "soulbox: left out out: a link out of the directory\n" {
		t.Errorf("cp of a link that leads out: %v, %q", err, out)
	}
	if left, err := os.ReadDir(at("bad")); err != nil || len(left) != 1 || left[0].Name() != "fine" {
		t.Errorf("it left %v, %v", left, err)
	}
	for want, args := range map[string][]string{
		"one side is id:path":          {"cp", "a", "b"},
		"there is no directory":        {"cp", "box:run", at("none") + "/"},
		"is no directory":              {"cp", at("src"), "box:run"},
		"no such file":                 {"cp", at("nothing"), "box:"},
		"permission denied":            {"cp", at("src/deep/run"), "box:/etc/no"},
		"no sandbox has the id or the": {"cp", at("src/deep/run"), "nobox:"},
	} {
		if out, err := d.command(t, args...).CombinedOutput(); err == nil || !strings.Contains(strings.ToLower(string(out)), want) {
			t.Errorf("soulbox %v: %v, %q, want %q", args, err, out, want)
		}
	}
}

// TestWatching looks at a sandbox from outside: stats, top, and a directory that changes.
func TestWatching(t *testing.T) {
	d := startDaemon(t)
	id := d.soulbox(t, "sandbox", "create", "--name", "seen", "--memory", "128M")
	if got := d.soulbox(t, "stats", "--no-stream", "seen"); !strings.Contains(got, id) || !strings.Contains(got, " / 128 MiB") {
		t.Errorf("stats: %s", got)
	}
	pid := d.soulbox(t, "exec", "-d", "seen", "sleep", "1000")
	s := d.onTerminal(t, "top", "seen")
	s.until(t, "sleep 1000")
	s.ends(t, 0)
	if got := s.seen.String(); !strings.Contains(got, pid+"  ") || !strings.Contains(got, "running") {
		t.Errorf("top: %q", got)
	}
	s = d.onTerminal(t, "watch", "seen", "/tmp")
	s.until(t, "watching\r\n")
	d.soulbox(t, "exec", "seen", "touch", "/tmp/file")
	s.until(t, "create  file\r\n")
	s.typed(t, ctrlC, "^C")
	s.ends(t, 0)
	s = d.onTerminal(t, "stats")
	s.until(t, id)
	s.typed(t, ctrlC, "^C")
	s.ends(t, 0)
}
