package images

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// FuzzRecipe: whatever an operator's file holds is refused or makes a recipe that can be planned.
func FuzzRecipe(f *testing.F) {
	f.Add([]byte(tinyRecipe))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRecipe(data)
		if err != nil {
			if err.Error() == "" {
				t.Errorf("parseRecipe(%q): an error without a text", data)
			}
			return
		}
		if strings.ContainsAny(r.Name, "/\x00") || r.Name == "." || r.Name == ".." || path.Base(r.PreparedDir()) != r.Name {
			t.Errorf("parseRecipe(%q): name %q is no name of a directory", data, r.Name)
		}
		if len(r.Extensions) == 0 || len(r.Samples) == 0 || r.Limits.complete() != nil {
			t.Errorf("parseRecipe(%q) = %+v, which is not complete", data, r)
		}
		p, err := r.Plan(PlanInput{Args: []string{"x"}})
		if err == nil && (!filepath.IsLocal(p.Entrypoint) || len(p.Run.Args) < 2) {
			t.Errorf("parseRecipe(%q): plan %+v", data, p)
		}
	})
}

// FuzzDetect: whatever a program is named and holds, the answer is one of the languages or candidates among them, and
// always the same.
func FuzzDetect(f *testing.F) {
	c, err := LoadDir("../docs/examples/languages")
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range c.All() {
		for _, s := range r.Samples {
			f.Add(r.Entrypoint, []byte(s.Code))
		}
	}
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		d := c.Detect(name, content)
		seen := map[string]bool{}
		for _, n := range d.Candidates {
			if seen[n] || !slices.Contains(c.Names(), n) {
				t.Errorf("Detect(%q, %q): candidates %q", name, content, d.Candidates)
			}
			seen[n] = true
		}
		if d.Recipe != nil && d.Recipe.Name != d.Candidates[0] {
			t.Errorf("Detect(%q, %q) = %s of %q", name, content, d.Recipe.Name, d.Candidates)
		}
		if again := c.Detect(name, content); again.Recipe != d.Recipe || !slices.Equal(again.Candidates, d.Candidates) {
			t.Errorf("Detect(%q, %q) = %v, then %v", name, content, d, again)
		}
	})
}

// FuzzPlan: no code and no path of a request leads out of the work directory, or becomes an option of a compiler.
func FuzzPlan(f *testing.F) {
	c, err := Load()
	if err != nil {
		f.Fatal(err)
	}
	java, _ := c.Find("java")
	f.Add("Main.java", []byte(java.Samples[0].Code))
	f.Fuzz(func(t *testing.T, entry string, code []byte) {
		for _, r := range c.All() {
			p, err := r.Plan(PlanInput{Entrypoint: entry, Code: code})
			if err != nil {
				continue
			}
			if !filepath.IsLocal(p.Entrypoint) || path.Clean(p.Entrypoint) != p.Entrypoint {
				t.Errorf("%s: Plan(%q, %q): entrypoint %q", r.Name, entry, code, p.Entrypoint)
			}
			plain, err := r.Plan(PlanInput{})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range []struct{ got, want *Command }{{p.Compile, plain.Compile}, {p.Run, plain.Run}} {
				if s.got != nil && len(s.got.Args) != len(s.want.Args) {
					t.Errorf("%s: Plan(%q, %q): arguments %q, want as many as in %q", r.Name, entry, code, s.got.Args, s.want.Args)
				}
			}
		}
	})
}
