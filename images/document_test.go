package images

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const documentFile = "../docs/languages.md"

// TestDocument: docs/languages.md is what the recipes say. -update writes it.
func TestDocument(t *testing.T) {
	want := document(t, mustLoad(t))
	if updating() {
		if err := os.WriteFile(documentFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(documentFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is stale; run go test ./images -run TestDocument -update: want -, got +\n%s", documentFile, diff)
	}
}

// document renders the introduction, with a table of the languages and their common limits, and a section for each.
func document(t *testing.T, c *Catalog) string {
	intro, err := os.ReadFile("testdata/languages.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	anchors := map[string]int{}
	for _, r := range c.All() {
		fmt.Fprintf(&rows, "| [%s](#%s) | %s | %s | %s |\n", r.Title, anchor(r.Title, anchors), codes(append([]string{r.Name}, r.Aliases...)), codes(r.Extensions), codes(r.interpreters))
	}
	python := mustFind(t, "python").Limits
	text := strings.NewReplacer("LANGUAGES\n", rows.String(), "LIMITS\n", limitRows(python, mustFind(t, "c").Compile)).Replace(string(intro))
	var b strings.Builder
	b.WriteString(text)
	for _, r := range c.All() {
		section(t, &b, r, python)
	}
	return b.String()
}

func section(t *testing.T, b *strings.Builder, r *Recipe, common Limits) {
	fmt.Fprintf(b, "\n### %s\n\n", r.Title)
	p, err := r.Plan(PlanInput{})
	if err != nil {
		t.Fatal(err)
	}
	line := func(name, format string, args ...any) {
		fmt.Fprintf(b, "- **%s**: %s.\n", name, fmt.Sprintf(format, args...))
	}
	line("Needs", "%s below `/usr`; on Debian `%s`", codes(r.Needs), InstallCommand(r.Packages))
	line("Version", "the part of what `%s` prints that matches `%s`", strings.Join(r.version, " "), r.versionRE)
	files := fmt.Sprintf("`%s` unless the request says otherwise", r.Entrypoint)
	if len(r.entry) > 0 {
		files = fmt.Sprintf("named after the class in the code, else `%s`", r.Entrypoint)
	}
	line("File", "%s. %s", files, sourcesText(r))
	if p.Compile != nil {
		line("Compiled by", "`%s`", strings.Join(p.Compile.Args, " "))
	}
	line("Run by", "`%s`", strings.Join(p.Run.Args, " "))
	if len(r.Interactive) > 0 {
		line("Interactive", "`%s`", strings.Join(r.Interactive, " "))
	}
	if vars := ownVariables(p.Run); len(vars) > 0 {
		line("Environment", "%s", codes(vars))
	}
	if p.Compile != nil {
		if vars := ownVariables(p.Compile); len(vars) > 0 {
			line("Environment of the compiler", "%s", codes(vars))
		}
	}
	if r.Limits != common {
		line("Limits", "as above, but %s", differences(r.Limits, common))
	}
	for _, s := range shares(r) {
		line("Memory", "%s", s)
	}
	line("Out of memory", "%s", outOfMemoryText(r))
	if r.prepare != nil {
		line("Prepared", "once for each version, when the language is first used; it may take up to %.0f minutes", r.Prepare.WallTime.Minutes())
	}
	for _, n := range r.Notes {
		fmt.Fprintf(b, "- %s\n", n)
	}
}

// anchor is where a heading can be found; GitHub numbers those that come out the same, as C and C++ do.
func anchor(title string, seen map[string]int) string {
	a := strings.ToLower(regexp.MustCompile(`[^\w-]`).ReplaceAllString(title, ""))
	seen[a]++
	if n := seen[a]; n > 1 {
		return fmt.Sprintf("%s-%d", a, n-1)
	}
	return a
}

func codes(list []string) string {
	var out []string
	for _, s := range list {
		out = append(out, "`"+s+"`")
	}
	return strings.Join(out, ", ")
}

func sourcesText(r *Recipe) string {
	others := ""
	if len(r.exclude) > 0 {
		others = ", but not " + codes(r.exclude)
	}
	switch r.sources {
	case sourcesTree:
		return "All files with the extensions of the language are compiled together" + others
	case sourcesDirectory:
		return "Those beside it are compiled with it" + others
	case sourcesEntrypoint:
	}
	return "Other files are found by the program itself"
}

// ownVariables returns the variables of a command that not all programs have.
func ownVariables(c *Command) []string {
	return slices.DeleteFunc(slices.Clone(c.Env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains([]string{"HOME", "LANG", "PATH", "TZ", "USER"}, name) && kv != "HOME=/tmp"
	})
}

// shares says what part of the memory limit goes where.
func shares(r *Recipe) []string {
	re := regexp.MustCompile(`(\S*?)\{\{\.Share (\d+) (\d+)\}\}`)
	var out []string
	find := func(where, text string) {
		if m := re.FindStringSubmatch(text); m != nil {
			out = append(out, fmt.Sprintf("`%s` %s gets %s %% of the memory limit, at least %s MiB", strings.TrimSuffix(m[1], "="), where, m[2], m[3]))
		}
	}
	for _, s := range []struct {
		where string
		step  *step
	}{{"of the compiler", r.compile}, {"of the program", r.run}} {
		if s.step == nil {
			continue
		}
		for _, a := range s.step.args {
			find(s.where, a.Root.String())
		}
		for _, v := range s.step.env {
			find(s.where, v.name+"="+v.value.Root.String())
		}
	}
	return out
}

func outOfMemoryText(r *Recipe) string {
	out := []string{"killed by the kernel"}
	for _, s := range r.outOfMemory {
		how := ""
		switch {
		case s.exit != nil && s.signal != 0:
			how = fmt.Sprintf("exit code %d or %s", *s.exit, signalName(s))
		case s.exit != nil:
			how = fmt.Sprintf("exit code %d", *s.exit)
		default:
			how = signalName(s)
		}
		out = append(out, fmt.Sprintf("%s with `%s` on standard error", how, s.stderr))
	}
	return strings.Join(out, "; ")
}

func signalName(s signature) string {
	return map[string]string{"aborted": "`SIGABRT`", "segmentation fault": "`SIGSEGV`", "trace/breakpoint trap": "`SIGTRAP`"}[s.signal.String()]
}

// limitText renders the limits in the API's names.
func limitText(l Limits) [][2]string {
	mib := func(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
	return [][2]string{
		{"wallTime", l.WallTime.Round(time.Second).String()}, {"cpuTime", l.CPUTime.Round(time.Second).String()}, {"memoryBytes", mib(l.Memory)},
		{"processes", fmt.Sprint(l.Processes)}, {"openFiles", fmt.Sprint(l.OpenFiles)}, {"fileBytes", mib(l.FileSize)},
		{"diskBytes", mib(l.Disk)}, {"inodes", fmt.Sprint(l.Inodes)}, {"outputBytes", mib(l.Output)},
	}
}

func limitRows(run, compile Limits) string {
	var b strings.Builder
	c := limitText(compile)
	for i, l := range limitText(run) {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", l[0], l[1], c[i][1])
	}
	return b.String()
}

func differences(l, common Limits) string {
	var out []string
	c := limitText(common)
	for i, f := range limitText(l) {
		if f != c[i] {
			out = append(out, fmt.Sprintf("`%s` is %s", f[0], f[1]))
		}
	}
	return strings.Join(out, ", ")
}

// TestCompileLimits: the document shows one column for all compilers.
func TestCompileLimits(t *testing.T) {
	want := mustFind(t, "c").Compile
	for _, r := range mustLoad(t).All() {
		if r.Compiled() && r.Compile != want {
			t.Errorf("%s: limits of the compile step %+v, want %+v", r.Name, r.Compile, want)
		}
	}
}

// TestDocumentNamesKeys: every key of a recipe's file is explained.
func TestDocumentNamesKeys(t *testing.T) {
	text, err := os.ReadFile(documentFile)
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("recipe.go")
	if err != nil {
		t.Fatal(err)
	}
	keys := regexp.MustCompile(`toml:"(\w+)"`).FindAllSubmatch(source, -1)
	if len(keys) < 20 {
		t.Fatalf("%d keys were found, want more", len(keys))
	}
	for _, k := range keys {
		if !regexp.MustCompile("`(?:[a-z_.]+\\.)?" + string(k[1]) + "[`.]").Match(text) {
			t.Errorf("%s does not explain %s", documentFile, k[1])
		}
	}
}
