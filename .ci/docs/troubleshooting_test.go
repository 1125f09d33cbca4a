package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/soulbox/soulbox/cgroups"
)

// section returns the lines of docs/troubleshooting.md below a heading.
func section(t *testing.T, heading string) string {
	t.Helper()
	document, err := os.ReadFile("../../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(document), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("docs/troubleshooting.md has no heading %q", heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

// quoted returns what stands in backquotes in the first cells of a section's tables.
func quoted(text string) []string {
	var all []string
	for _, row := range regexp.MustCompile(`(?m)^\| (.*?) \|`).FindAllStringSubmatch(text, -1) {
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			all = append(all, m[1])
		}
	}
	return all
}

// Doctor's checks are those of the document.
func TestChecksAreDocumented(t *testing.T) {
	checks := map[string]bool{}
	source, err := os.ReadFile("../../cmd/soulbox/doctor_checks.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`check\{Name: "([^"]+)"`).FindAllSubmatch(source, -1) {
		checks[string(m[1])] = true
	}
	for _, f := range cgroups.Probe() { // some are left out where none can be had
		checks[f.Name] = true
	}
	for _, name := range quoted(section(t, "doctor's checks")) {
		if !checks[name] {
			t.Errorf("docs/troubleshooting.md has the check %q, which there is not", name)
		}
		delete(checks, name)
	}
	for name := range checks {
		t.Errorf("the check %q is not in docs/troubleshooting.md", name)
	}
}

// messages returns the texts of the Go files below dirs, each literal for itself, and those of sentinel errors.
func messages(t *testing.T, dirs ...string) (all string, sentinels map[string]string) {
	t.Helper()
	var texts strings.Builder
	sentinels = map[string]string{}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
					texts.WriteString(strings.Trim(l.Value, "\"`") + "\n")
				}
				call, ok := n.(*ast.CallExpr)
				if !ok || len(call.Args) != 1 {
					return true
				}
				fun, isSelector := call.Fun.(*ast.SelectorExpr)
				text, isText := call.Args[0].(*ast.BasicLit)
				if isSelector && isText && fun.Sel.Name == "New" {
					sentinels[strings.Trim(text.Value, `"`)] = set.Position(n.Pos()).String()
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return texts.String(), sentinels
}

// What the document says of a start and of the command line is what SoulBox says, and every error that a start can meet
// and that has a text of its own is there.
func TestMessagesAreDocumented(t *testing.T) {
	documented := append(quoted(section(t, "The daemon does not start")), quoted(section(t, "Services and upgrades"))...)
	known, _ := messages(t, "../../cmd/soulbox", "../../sandbox", "../../store", "../../cgroups", "../../systemd")
	for _, text := range append(documented, quoted(section(t, "The command line"))...) {
		if text != "--listen: listen tcp" && text != "address already in use" && !strings.Contains(known, text) { // Go's own
			t.Errorf("docs/troubleshooting.md has %q, which nothing says", text)
		}
	}
	_, starting := messages(t, "../../sandbox/wide", "../../systemd", "../../sandbox/idlock.go", "../../store/store.go", "../../cmd/soulbox/socket.go", "../../cmd/soulbox/engine.go")
	for _, inside := range []string{"no such row", "row exists", "store is closed", "cursor is not one of this listing", "value is too large"} {
		delete(starting, inside)
	}
	for text, where := range starting {
		found := false
		for _, d := range documented {
			found = found || strings.Contains(text, d)
		}
		if !found {
			t.Errorf("%s: %q is not in docs/troubleshooting.md", where, text)
		}
	}
}
