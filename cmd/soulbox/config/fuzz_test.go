package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzLoad: whatever a file holds, it is refused with problems that have lines of the file, or read, and what is printed
// of it reads as the same.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(sample))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(dir, "fuzz.toml")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		in := Input{Path: path, Explicit: true}
		e, err := Load(in)
		if err != nil {
			problems, ok := errors.AsType[Problems](err)
			if !ok || len(problems) == 0 {
				t.Fatalf("Load = %v, want problems", err)
			}
			for _, p := range problems {
				if lines := bytes.Count(data, []byte("\n")) + 1; p.Line < 0 || p.Line > lines || p.Msg == "" {
					t.Errorf("problem %+v of a file with %d lines", p, lines)
				}
			}
			return
		}
		var b bytes.Buffer
		if err := e.WriteTOML(&b); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := Load(in)
		if err != nil {
			t.Fatalf("what was printed of %q is refused: %v\n%s", data, err, &b)
		}
		// Empty entries of keys are not printed: they say nothing.
		for name := range e.Policy.Keys {
			if _, ok := again.Policy.Keys[name]; !ok {
				delete(e.Policy.Keys, name)
			}
		}
		if d := cmp.Diff(e.Config, again.Config); d != "" {
			t.Errorf("%q reads differently once printed (-first +second):\n%s\n%s", data, d, &b)
		}
	})
}
