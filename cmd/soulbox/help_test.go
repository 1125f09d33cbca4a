package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"
)

// TestHelp: each command says what it does and shows how, and each flag what it means.
func TestHelp(t *testing.T) {
	commands := 0
	eachCommand(newApp(nil, new(string)).Commands, "soulbox", func(path string, c *cli.Command) {
		commands++
		if c.Usage == "" {
			t.Errorf("%s has no usage", path)
		}
		if len(c.Subcommands) == 0 && !slices.ContainsFunc(strings.Split(c.Description, "\n"), func(line string) bool {
			return isExample(line) && strings.Contains(line, path) && strings.HasPrefix(line, "   ")
		}) {
			t.Errorf("the description of %s has no example: %q", path, c.Description)
		}
		for _, f := range c.Flags {
			doc, ok := f.(cli.DocGenerationFlag)
			if !ok || doc.GetUsage() == "" {
				t.Errorf("%s --%s has no usage", path, f.Names()[0])
			}
		}
	})
	if commands < 25 {
		t.Errorf("%d commands were visited, want more", commands)
	}
}

// TestCommandDocument: the table in docs/cli.md is what --help says. With SOULBOX_UPDATE=1 it is written.
func TestCommandDocument(t *testing.T) {
	const file, begin, end = "../../docs/cli.md", "<!-- commands -->\n", "<!-- end of commands -->\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| Command | What it does |\n|---|---|\n")
	eachCommand(newApp(nil, new(string)).Commands, "soulbox", func(path string, c *cli.Command) {
		if len(c.Subcommands) == 0 {
			line := strings.TrimSpace(path + " " + c.ArgsUsage)
			fmt.Fprintf(&table, "| `%s` | %s |\n", strings.ReplaceAll(line, "|", `\|`), c.Usage)
		}
	})
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, found := strings.Cut(rest, end)
	if !ok || !found {
		t.Fatalf("%s has no place for the commands", file)
	}
	want := head + begin + table.String() + end + tail
	if os.Getenv("SOULBOX_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("%s is stale; run SOULBOX_UPDATE=1 go test ./cmd/soulbox -run TestCommandDocument: want -, got +\n%s", file, diff)
	}
}

func TestManPages(t *testing.T) {
	pages := manPages(newApp(nil, new(string)))
	for name, parts := range map[string][]string{
		"soulbox.1":           {".SH NAME", "soulbox-exec", "\\-\\-color"},
		"soulbox-exec.1":      {`.TH SOULBOX-EXEC`, "\\-\\-workdir", "soulbox exec -it build python3", "125: SoulBox failed"},
		"soulbox-sandbox.1":   {"soulbox-sandbox-create"},
		"soulbox-lang-list.1": {".SH OPTIONS"},
	} {
		for _, part := range parts {
			if !bytes.Contains(pages[name], []byte(part)) && !bytes.Contains(pages[name], []byte(strings.ReplaceAll(part, `\-`, "-"))) {
				t.Errorf("%s has no %q:\n%s", name, part, pages[name])
			}
		}
	}
}

func TestComplete(t *testing.T) {
	known := func(k valueKind) []string {
		return map[valueKind][]string{
			kindSandbox: {"build", "i123"}, kindCopy: {"build:", "i123:"}, kindLanguage: {"python", "php"}, kindExecution: {"i9"}, kindShell: {"bash"}, kindColour: {"auto", "always", "never"},
		}[k]
	}
	for _, tc := range []struct {
		words string // the last is what is completed
		want  []string
	}{
		{"ex", []string{"exec"}},
		{"sandbox l", []string{"list", "logs"}},
		{"sb re", []string{"resume"}},
		{"exec ", []string{"build", "i123"}},
		{"exec -it b", []string{"build"}},
		{"exec -u root i", []string{"i123"}},
		{"exec --user=root i", []string{"i123"}},
		{"exec build ", nil},
		{"exec build --", nil},
		{"exec --wor", []string{"--workdir"}},
		{"run -l p", []string{"php", "python"}},
		{"run --language py", []string{"python"}},
		{"run --mem", []string{"--memory"}},
		{"run ", nil},
		{"lang show ph", []string{"php"}},
		{"cp b", []string{"build:"}},
		{"cp file i", []string{"i123:"}},
		{"logs ", []string{"i9"}},
		{"rm ", nil},
		{"sandbox rm build i", []string{"i123"}},
		{"completion ", []string{"bash"}},
		{"--h", []string{"--help"}},
		{"--c", []string{"--color"}},
		{"--color a", []string{"always", "auto"}},
		{"--color never sandbox l", []string{"list", "logs"}},
		{"doctor-", nil},
	} {
		got := complete(newApp(nil, new(string)), strings.Split(tc.words, " "), known)
		if diff := cmp.Diff(tc.want, got); diff != "" && len(tc.want)+len(got) > 0 {
			t.Errorf("complete(%q) (-want +got):\n%s", tc.words, diff)
		}
	}
}
