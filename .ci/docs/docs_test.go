package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPlan(t *testing.T) {
	for _, tt := range []struct {
		name, document string
		want           []step
		reasons        []string
		err            string
	}{
		{"text only", "# Title\n\nwords\n", nil, nil, ""},
		{"commands", "```sh\na\nb\n```\n", []step{{line: 2, text: "a\nb\n", strict: true}}, nil, ""},
		{"what they print", "```sh\na\n# 1\n# 2\n\nb\n```\n", []step{
			{line: 2, text: "a\n", want: []string{"1", "2"}, compared: true, strict: true},
			{line: 5, text: "\nb\n", strict: true},
		}, nil, ""},
		{"a comment above is no output", "```sh\n# first\na\n```\n", []step{{line: 2, text: "a\n", strict: true}}, nil, ""},
		{"transcript", "```console\n$ a \\\n    b\n1\n\n$ c\n```\n", []step{
			{line: 2, text: "a \\\n    b\n", want: []string{"1", ""}, compared: true},
			{line: 6, text: "c\n", compared: true},
		}, nil, ""},
		{"lines of a transcript's command", "```console\n$ a '\n> b'\n> c\n```\n", []step{{line: 2, text: "a '\nb'\nc\n", compared: true}}, nil, ""},
		{"terminal", "```console terminal\n$ sh\nme@box:~$ echo 1\n1\nroot:/# exit\n```\n", []step{{line: 2,
			text: "printf %s 'echo 1\nexit\n' | script -qec 'sh' /dev/null\n", want: []string{"…", "…1", "…"}, compared: true}}, nil, ""},
		{"terminal without a command", "```console terminal\n1\n```\n", nil, nil, "begins with a command"},
		{"file", "```toml a/b.toml\nx = 1\n```\n", []step{{line: 2, file: "a/b.toml", text: "x = 1\n"}}, nil, ""},
		{"not run", "```sh norun no disk\na\n```\n", nil, []string{"line 2: no disk"}, ""},
		{"to be read", "```text\na\n```\n", nil, nil, ""},
		{"a fence in a block", "````text\n```\n````\n", nil, nil, ""},
		{"no language", "```\na\n```\n", nil, nil, "names no language"},
		{"no reason", "```sh norun\na\n```\n", nil, nil, "norun and a reason"},
		{"no file", "```toml ../b\na\n```\n", nil, nil, "no file in the directory"},
		{"no end", "```sh\na\n", nil, nil, "has no end"},
		{"no command", "```console\na\n```\n", nil, nil, "begins with a command"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, reasons, err := plan(tt.document)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("plan(%q) = %v, want an error with %q", tt.document, err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatalf("plan(%q): %v", tt.document, err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(step{})); diff != "" {
				t.Errorf("plan(%q) (-want +got):\n%s", tt.document, diff)
			}
			if diff := cmp.Diff(tt.reasons, reasons); diff != "" {
				t.Errorf("reasons of plan(%q) (-want +got):\n%s", tt.document, diff)
			}
		})
	}
}

func TestServes(t *testing.T) {
	for text, want := range map[string]bool{
		"soulbox serve --listen x &\nurl=1\n": true,
		"bin/soulbox serve & # goes on\n":     true,
		"soulbox serve --help\n":              false,
		"soulbox run a.py &\n":                false,
	} {
		if got := (&step{text: text}).serves(); got != want {
			t.Errorf("serves of %q = %t, want %t", text, got, want)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		want, got string
		ok        bool
	}{
		{"", "", true},
		{"", "x\n", false},
		{"a", "a\n", true},
		{"a", "b\n", false},
		{"a", "a\nb\n", false},
		{"a\n…", "a\nb\nc\n", true},
		{"…\nc", "a\nb\nc\n", true},
		{"a\n...\nc", "a\nc\n", true},
		{"a…c", "abc\n", true},
		{"a…c", "ab\nc\n", false},
		{"1229 primes", "1230 primes\n", false},
		{"took 0.034s", "took 1.2s\n", true},
		{"took 34ms", "took 1m2s\n", true},
		{"took 34ms", "took long\n", false},
		{"2026-01-02T03:04:05.3Z x", "2027-11-12T13:14:15Z x\n", true},
		{"iabcdefghij0123456789 x", "iqrstuvwxyz9876543210 x\n", true},
		{"iabcdefghij0123456789 x", "iqrstuvwxyz987654321 x\n", false},
		{"2077ee9ca0dd", "0123456789ab\n", true},
		{"7.5 MiB", "12 MiB\n", true},
		{"7.5 MiB", "12 KiB\n", true},
		{"a     b", "a  b\n", true},
		{"a (b) [c] *", "a (b) [c] *\n", true},
		{"a", "a  \r\n", true},
	} {
		if got := matches(strings.Split(tt.want, "\n"), tt.got); got != tt.ok {
			t.Errorf("matches(%q, %q) = %t, want %t", tt.want, tt.got, got, tt.ok)
		}
	}
}

// run runs a document without a daemon.
func run(t *testing.T, document string) result {
	t.Helper()
	name := filepath.Join(t.TempDir(), "a.md")
	if err := os.WriteFile(name, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &site{dir: t.TempDir(), soulbox: "/bin/true", patience: 10 * time.Second}
	return s.run(t.Context(), name)
}

func TestRun(t *testing.T) {
	for _, tt := range []struct {
		name, document, err string
		commands            int
	}{
		{"variables stay", "```sh\na=1\n```\n```console\n$ echo $a\n1\n```\n", "", 2},
		{"other output", "```console\n$ echo 1\n2\n```\n", "it should print", 0},
		{"a failure", "```console\n$ (exit 3)\n```\n", "exit status 3", 0},
		{"a failure that is asked for", "```console\n$ (exit 3)\n$ echo $?\n3\n```\n", "", 2},
		{"a failure between", "```sh\nfalse\necho on\n```\n", "it failed", 0},
		{"a failure in a pipe", "```sh\nfalse | cat\n```\n", "it failed", 0},
		{"a file", "```text a\nx\n```\n```console\n$ cat a\nx\n```\n", "", 2},
		{"a terminal", "```console terminal\n$ sh\n$ tty >/dev/null && echo \"is\" one\nis one\n$ exit\n```\n", "", 1},
		{"it reads nothing", "```console\n$ cat\n```\n", "", 1},
		{"what is left running ends", "```sh\nsleep 1000 &\n```\n", "", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := run(t, tt.document)
			if tt.err == "" && (r.err != nil || r.commands != tt.commands) {
				t.Errorf("%q: %d commands, %v; want %d", tt.document, r.commands, r.err, tt.commands)
			}
			if tt.err != "" && (r.err == nil || !strings.Contains(r.err.Error(), tt.err)) {
				t.Errorf("%q: %v, want an error with %q", tt.document, r.err, tt.err)
			}
		})
	}
}

func TestPatience(t *testing.T) {
	sh, err := startShell(t.Context(), t.TempDir(), t.TempDir(), os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, _, err := sh.run(ctx, "sleep 1000", false); err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("run of what takes too long = %v, want a deadline's error", err)
	}
	if err := sh.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}
