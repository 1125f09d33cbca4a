package sandboxtest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/sandbox"
)

// attackResults are what attacks achieved in one run of TestAttacks: by attack, then "program" or "session" and the user.
type attackResults map[string]map[string]string

func (r attackResults) add(a attack, where, achieved string) {
	if r[a.String()] == nil {
		r[a.String()] = map[string]string{}
	}
	r[a.String()][where] = achieved
}

// resultsDir has a file for each runtime, as root and rootless, in which TestAttacks was run with -update.
const resultsDir = "testdata/results"

// save merges the results into the file of the runtime: a run may have been of a few attacks only.
func (r attackResults) save(t *testing.T, info sandbox.RuntimeInfo) {
	t.Helper()
	name := filepath.Join(resultsDir, info.Name+"-root.json")
	if info.Rootless {
		name = filepath.Join(resultsDir, info.Name+"-rootless.json")
	}
	all := attackResults{}
	if b, err := os.ReadFile(name); err == nil {
		if err := json.Unmarshal(b, &all); err != nil {
			t.Fatal(err)
		}
	}
	maps.Copy(all, r)
	known := map[string]bool{}
	for _, a := range loadAttacks(t) {
		known[a.String()] = true
	}
	maps.DeleteFunc(all, func(name string, _ map[string]string) bool { return !known[name] })
	b, err := json.MarshalIndent(all, "", " ")
	if err == nil {
		err = os.MkdirAll(resultsDir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(name, append(b, '\n'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

const attackDocument = "../../docs/security-tests.md"

// TestSecurityTestsDocument: docs/security-tests.md is what the attacks and their recorded results say. -update writes it.
func TestSecurityTestsDocument(t *testing.T) {
	names, err := filepath.Glob(resultsDir + "/*.json")
	if err != nil {
		t.Fatal(err)
	}
	hosts, results := []string{}, map[string]attackResults{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		host := strings.ReplaceAll(strings.TrimSuffix(filepath.Base(name), ".json"), "-", ", ")
		var r attackResults
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		hosts, results[host] = append(hosts, host), r
	}
	want := []byte(attackText(loadAttacks(t), hosts, results))
	got, err := os.ReadFile(attackDocument)
	if *update && !bytes.Equal(got, want) {
		if err := os.WriteFile(attackDocument, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is stale; go test -run TestSecurityTestsDocument -update writes it (-want +got):\n%s", attackDocument, diff)
	}
}

// areas are the headings of the document, in the order of the directories.
var areas = map[string]string{"agent": "The agent and the first process", "disk": "Disk and output", "files": "Files through the API", "kernel": "The kernel",
	"memory": "Memory", "neighbours": "What sandboxes share", "processes": "Processes", "time": "Time", "view": "The host"}

func attackText(attacks []attack, hosts []string, results map[string]attackResults) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Security tests

Each line is a program in `+"`sandbox/sandboxtest/testdata/attacks`"+` that tries to reach, to hold or to break what it must not.
`+"`TestAttacks`"+` runs it outside of a sandbox, as a user of its own in throw-away namespaces, where it must bite, as a program and in a
session; this table is made from what that test recorded, for %s. “As root” is root of the sandbox, which `+"`sudo`"+` gives a
session's user; “as launcher” is root under the id of the slot's first process. Lines that begin with “maybe” are what some
hosts let happen and some do not.

Beside these, `+"`TestEverySystemCall`"+` makes every system call under each filter, `+"`TestPoisonedAgents`"+` answers the daemon as an agent that
was taken over, and [isolation.md](isolation.md) names the tests of single layers.
`, strings.Join(hosts, "; for "))
	area := ""
	for _, a := range attacks {
		if a.area != area {
			area = a.area
			fmt.Fprintf(&b, "\n## %s\n\n| attack | undefended | as a program | in a session | what stops it |\n|---|---|---|---|---|\n", areas[area])
		}
		fmt.Fprintf(&b, "| %s: %s | %s | %s | %s | %s |\n", strings.ReplaceAll(a.name, "-", " "), cell(a.does), achievement(a.sections["undefended"]),
			a.column("program", hosts, results), a.column("session", hosts, results), cell(a.stoppedBy))
	}
	return b.String()
}

// column tells what came of an attack as a program or in a session, on its own for hosts that differ.
func (a attack) column(confinement string, hosts []string, results map[string]attackResults) string {
	where := []string{confinement}
	if confinement == "session" {
		where = nil
		for _, user := range a.as {
			where = append(where, "session "+user)
		}
	}
	var all []string
	for _, w := range where {
		who := strings.TrimPrefix(strings.TrimPrefix(w, "session "), "program")
		by := map[string][]string{}
		for _, h := range hosts {
			if got, ok := results[h][a.String()][w]; ok {
				by[achievement(got)] = append(by[achievement(got)], h)
			}
		}
		for _, text := range slices.Sorted(maps.Keys(by)) {
			if len(by) > 1 {
				text = "*" + strings.Join(by[text], "; ") + "*: " + text
			}
			if len(where) > 1 {
				text = "as " + who + ": " + text
			}
			all = append(all, text)
		}
	}
	return strings.Join(slices.Compact(all), "<br>")
}

// achievement is a cell with what was achieved.
func achievement(text string) string {
	if text == "" {
		return "nothing"
	}
	return cell(strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "; "))
}

// cell quotes what has a meaning in a table.
func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "<", "&lt;", "*", "\\*").Replace(text)
}
