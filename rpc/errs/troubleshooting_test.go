package errs

import (
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every reason that SoulBox gives has its row in docs/troubleshooting.md, with what its help says to do.
func TestTroubleshooting(t *testing.T) {
	document, err := os.ReadFile("../../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(document), "<!-- reasons -->\n")
	table, _, _ = strings.Cut(table, "<!-- end of reasons -->")
	rows := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| (.*) \\| (.*) \\|$").FindAllStringSubmatch(table, -1) {
		reason, cause, fix := m[1], m[2], m[3]
		rows[reason] = true
		if cause == "" || fix != Help(reason) {
			t.Errorf("the row of %s has cause %q and %q; want a cause, and %q", reason, cause, fix, Help(reason))
		}
	}
	if got := strings.Count(table, "\n") - 2; got != len(rows) { // without the header
		t.Errorf("%d rows are there, and %d are of different reasons", got, len(rows))
	}
	given := reasons(t, "..")
	maps.Copy(given, reasons(t, "../../sandbox"))
	for reason, where := range given {
		if !rows[reason] {
			t.Errorf("%s: %s has no row", where, reason)
		}
	}
}
