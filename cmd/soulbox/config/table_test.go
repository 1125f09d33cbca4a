package config

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTable: every entry is whole, and no two are in each other's way.
func TestTable(t *testing.T) {
	names := map[string]string{}
	once := func(what, name string) {
		if other, taken := names[what+name]; taken {
			t.Errorf("%s %q is taken by %s", what, name, other)
		}
		names[what+name] = name
	}
	check := func(key, help, fallback, unset string) {
		once("key", key)
		if !regexp.MustCompile(`^[a-z_]+(\.[a-z_]+){0,3}$`).MatchString(key) {
			t.Errorf("key %q is not made of words", key)
		}
		if help == "" || strings.HasSuffix(help, ".") || (fallback == "") == (unset == "") {
			t.Errorf("%s: help %q, default %q, unset %q: want a phrase, and one of the two", key, help, fallback, unset)
		}
	}
	for _, s := range Settings() {
		check(s.Key, s.Help, s.Default, s.Unset)
		once("flag", s.Flag)
		if !regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`).MatchString(s.Flag) || s.Flag == "config" || s.Flag == "json" || s.Flag == "help" {
			t.Errorf("%s has the flag %q", s.Key, s.Flag)
		}
		var c Config
		if err := s.Value.set(&c, s.Default); s.Default != "" && (err != nil || s.Text(&c) != s.Default) {
			t.Errorf("default %q of %s reads as %q, %v", s.Default, s.Key, s.Text(&c), err)
		}
	}
	for _, s := range KeySettings() {
		check("keys.x."+s.Key, s.Help, s.Default, s.Unset)
	}
}

var update = flag.Bool("update", false, "write the tables of docs/configuration.md")

// TestDocument holds the documentation and the table together.
func TestDocument(t *testing.T) {
	const path, begin, end = "../../../docs/configuration.md", "<!-- settings -->\n", "<!-- end of settings -->\n"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(b), begin)
	body, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s lacks %q or %q", path, begin, end)
	}
	if *update {
		if err := os.WriteFile(path, []byte(head+begin+Document()+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(Document(), body); d != "" {
		t.Errorf("%s is stale, run this test with -update (-want +got):\n%s", path, d)
	}
}
