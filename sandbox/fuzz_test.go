package sandbox

import (
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzPaths: a path that is let through stays below the work directory, and conflicts are those that looking at every
// pair finds.
func FuzzPaths(f *testing.F) {
	for _, seed := range []string{"a", "a/b\na", "a\na", "../a", "/a", "a//b", "a/.\n.", "a-b\na/b\na", strings.Repeat("a/", 2047) + "a", "a\x00b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		paths := strings.Split(text, "\n")
		if len(paths) > 100 {
			return // every pair is looked at
		}
		for _, p := range paths {
			if checkPath(p) != "" {
				return
			}
			if !filepath.IsLocal(p) || path.Clean(p) != p || p == "." {
				t.Errorf("checkPath(%q) lets it through", p)
			}
		}
		for _, nested := range []bool{false, true} {
			want := false
			for i, a := range paths {
				for j, b := range paths {
					want = want || i < j && a == b || nested && strings.HasPrefix(b, a+"/")
				}
			}
			if i, msg := pathConflict(paths, nested); (msg != "") != want || i < 0 || i >= len(paths) {
				t.Errorf("pathConflict(%q, %t) = %d, %q, want a conflict: %t", paths, nested, i, msg, want)
			}
		}
	})
}
