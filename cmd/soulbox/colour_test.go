package main

import (
	"bytes"
	"testing"

	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

func TestHasColour(t *testing.T) {
	for _, tc := range []struct {
		mode          string
		terminal      bool
		noColour, typ string // NO_COLOR and TERM
		want          bool
	}{
		{"auto", true, "", "xterm", true},
		{"", true, "", "xterm", true}, // a command line that was not read
		{"auto", true, "", "", true},
		{"auto", false, "", "xterm", false},
		{"auto", true, "1", "xterm", false},
		{"auto", true, "0", "xterm", false}, // any value
		{"auto", true, "", "dumb", false},
		{"never", true, "", "xterm", false},
		{"always", true, "", "xterm", true},
		{"always", false, "", "xterm", true},
		{"always", true, "1", "dumb", true},
	} {
		env := map[string]string{"NO_COLOR": tc.noColour, "TERM": tc.typ}
		if got := hasColour(tc.mode, tc.terminal, func(name string) string { return env[name] }); got != tc.want {
			t.Errorf("hasColour(%q, %t, %v) = %t, want %t", tc.mode, tc.terminal, env, got, tc.want)
		}
	}
}

// TestEveryStateHasATone, so that a new one is not forgotten. What is done says nothing: its verdict does.
func TestEveryStateHasATone(t *testing.T) {
	words := map[string]bool{}
	for prefix, names := range map[string]map[int32]string{"VERDICT_": pb.Verdict_name, "STATE_": pb.State_name, "SANDBOX_STATE_": pb.SandboxState_name} {
		for _, name := range names {
			words[enumName(name, prefix)] = true
		}
	}
	for _, word := range []string{checkOK, checkWarning, checkFailed, checkUnknown} {
		words[word] = true
	}
	for word := range words {
		if want := word != "done" && word != "unspecified"; (toneOf(word) != plain) != want {
			t.Errorf("toneOf(%q) = %d, want a tone: %t", word, toneOf(word), want)
		}
	}
	if got := toneOf("3.11.2"); got != plain {
		t.Errorf("toneOf of a version = %d, want none", got)
	}
}

// TestColouredTable: colours have no width, and are where the states are.
func TestColouredTable(t *testing.T) {
	var out bytes.Buffer
	rows := [][]string{{"ok", "running", "a"}, {"\x1b[31mä", "failed", "b"}, {"3", "", "ok"}}
	if err := printTable(&out, painter{on: true}, []string{"ID", "STATE", "LABEL"}, rows); err != nil {
		t.Fatal(err)
	}
	const want = "ID      STATE    LABEL\n" +
		"ok      \x1b[32mrunning\x1b[0m  a\n" +
		"?[31mä  \x1b[31mfailed\x1b[0m   b\n" +
		"3                ok\n"
	if out.String() != want {
		t.Errorf("printTable = %q, want %q", &out, want)
	}
}

// TestPaintCutRow: a state that is cut keeps its colour, and one that is cut off has none.
func TestPaintCutRow(t *testing.T) {
	cells := [][]string{{"ID", "STATE"}, {"i1", "running"}}
	for line, want := range map[string]string{"i1  runn…": "i1  \x1b[32mrunn…\x1b[0m", "i1…": "i1…", "i1  running": "i1  \x1b[32mrunning\x1b[0m"} {
		if got := paintRow(painter{on: true}, line, cells, 1); got != want {
			t.Errorf("paintRow(%q) = %q, want %q", line, got, want)
		}
	}
}
