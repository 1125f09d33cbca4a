package cgroups

import (
	"embed"
	"flag"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

//go:embed testdata/hosts
var hosts embed.FS

var update = flag.Bool("update", false, "write the golden sections of testdata/hosts")

// transcript returns the host that an archive describes: its files, the section "writable" with the directories that
// are writable with all below them, and the section "delegated" with those that systemd has marked.
func transcript(t *testing.T, a *txtar.Archive) host {
	t.Helper()
	fsys, err := txtar.FS(a)
	if err != nil {
		t.Fatal(err)
	}
	lists := map[string][]string{}
	for _, f := range a.Files {
		lists[f.Name] = strings.Fields(string(f.Data))
	}
	return host{
		fs: fsys,
		writable: func(p string) bool {
			return slices.ContainsFunc(lists["writable"], func(dir string) bool { _, ok := below(dir, p); return ok })
		},
		delegated: func(dir string) Answer {
			if slices.Contains(lists["delegated"], dir) {
				return AnswerYes
			}
			return AnswerUnknown
		},
	}
}

// TestHosts compares what is made of each transcript with its section "want".
func TestHosts(t *testing.T) {
	const dir = "testdata/hosts"
	entries, err := hosts.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Run(strings.TrimSuffix(e.Name(), ".txtar"), func(t *testing.T) {
			data, err := hosts.ReadFile(path.Join(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			a := txtar.Parse(data)
			var want string
			a.Files = slices.DeleteFunc(a.Files, func(f txtar.File) bool {
				if f.Name == "want" {
					want = string(f.Data)
				}
				return f.Name == "want"
			})
			got := describe(transcript(t, a))
			if *update {
				a.Files = append(a.Files, txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(path.Join(dir, e.Name()), txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("facts and features, -want +got:\n%s", diff)
			}
		})
	}
}

func describe(h host) string {
	var b strings.Builder
	if f, err := h.facts(""); err != nil {
		fmt.Fprintf(&b, "error\n")
	} else {
		fmt.Fprintf(&b, "modes %v, v2 own %q base %q\n", f.modes(), f.V2.Own, f.V2.Base)
	}
	for _, x := range h.probe() {
		fmt.Fprintf(&b, "%s: %s: %s\n", x.Name, x.Answer, x.Detail)
	}
	return b.String()
}

func TestBelow(t *testing.T) {
	for _, tt := range []struct {
		root, dir, want string
		ok              bool
	}{
		{"/", "/a/b", "/a/b", true},
		{"/", "/", "", true},
		{"/a", "/a", "", true},
		{"/a", "/a/b", "b", true},
		{"/a", "/ab", "", false},
		{"/", "", "", false},
		{"/", "/../x", "", false},
	} {
		got, ok := below(tt.root, tt.dir)
		if ok != tt.ok || strings.Trim(got, "/") != strings.Trim(tt.want, "/") {
			t.Errorf("below(%q, %q) = %q, %v, want %q, %v", tt.root, tt.dir, got, ok, tt.want, tt.ok)
		}
	}
}

// nonArchive is a host without control groups.
func nonArchive() *txtar.Archive {
	return txtar.Parse([]byte("-- proc/self/mountinfo --\n-- proc/self/cgroup --\n"))
}
