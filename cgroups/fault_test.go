package cgroups

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEveryHostCallCanFail fails host call 0, then 1, then 2, until the operation succeeds: nothing may stay held. It
// needs groups that this process can make.
func TestEveryHostCallCanFail(t *testing.T) {
	openTree(t) // settles a v2 unit, so that the calls below are the same each time
	refuse := errors.New("refused by the test")
	for _, op := range []struct {
		name string
		do   func(o Options, tree *Tree, box *Box) error
	}{
		{"open", func(o Options, _ *Tree, _ *Box) error { _, err := Open(o); return err }},
		{"box", func(_ Options, tree *Tree, _ *Box) error {
			_, err := tree.Box("b2", Limits{Memory: 64 * mib, Pids: 9})
			return err
		}},
		{"slot", func(_ Options, _ *Tree, box *Box) error { _, err := box.Slot("s1"); return err }},
		{"procs", func(_ Options, _ *Tree, box *Box) error {
			files, err := box.User().Procs()
			for _, f := range files {
				f.Close()
			}
			return err
		}},
		{"stats", func(_ Options, _ *Tree, box *Box) error { _, err := box.User().Stats(); return err }},
		{"kill", func(_ Options, _ *Tree, box *Box) error { return box.Kill(t.Context()) }},
		{"freeze", func(_ Options, _ *Tree, box *Box) error {
			return errors.Join(box.User().Freeze(t.Context()), box.User().Thaw(t.Context()))
		}},
		{"boxes", func(_ Options, tree *Tree, _ *Box) error { _, err := tree.Boxes(); return err }},
	} {
		t.Run(op.name, func(t *testing.T) {
			for n := 0; ; n++ {
				if n == 500 {
					t.Fatal("still failing after 500 calls")
				}
				if faultOnce(t, op.name, n, refuse, op.do) {
					t.Logf("%d calls", n)
					return
				}
			}
		})
	}
}

// faultOnce has call n of an operation fail and reports whether the operation had so few calls that it succeeded.
func faultOnce(t *testing.T, name string, n int, refuse error, do func(Options, *Tree, *Box) error) bool {
	t.Helper()
	left := -1
	o := Options{Name: "test-" + strings.ToLower(rand.Text()[:10])}
	o.before = func(op, path string) error {
		if left--; left == -1 {
			return fmt.Errorf("%s %s: %w", op, path, refuse)
		}
		return nil
	}
	open := func() (*Tree, *Box) {
		tree, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		box, err := tree.Box("b1", Limits{})
		if err != nil {
			t.Fatal(err)
		}
		return tree, box
	}
	var tree *Tree
	var box *Box
	if name != "open" {
		tree, box = open()
	}
	dirs, fds := tally(tree), openFiles(t)
	left = n
	err := do(o, tree, box)
	failed := left < 0
	left = -1 << 40
	if failed && !errors.Is(err, refuse) {
		t.Errorf("%s with call %d failing: %v, want %v", name, n, err, refuse)
	}
	if !failed && err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if failed {
		if diff := cmp.Diff(dirs, tally(tree)); diff != "" {
			t.Errorf("%s with call %d failing: groups -before +after:\n%s", name, n, diff)
		}
		if name == "open" {
			refuseLeftovers(t, o.Name, n)
		}
	}
	if diff := cmp.Diff(fds, openFiles(t)); diff != "" {
		t.Errorf("%s with call %d failing: files -before +after:\n%s", name, n, diff)
	}
	if tree == nil {
		if tree, err = Open(o); err != nil {
			t.Fatal(err)
		}
	}
	if err := tree.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	return !failed
}

// refuseLeftovers fails when a tree that was not opened has a directory.
func refuseLeftovers(t *testing.T, name string, n int) {
	t.Helper()
	f, err := thisHost().facts("")
	if err != nil {
		t.Fatal(err)
	}
	bases := append([]string{f.V2.Base}, f.Others...)
	for _, m := range f.V1 {
		bases = append(bases, m.Dir)
	}
	for _, base := range bases {
		dir := base + "/" + parentGroup + "/" + name
		if _, err := os.Lstat(dir); err == nil {
			t.Errorf("open with call %d failing left %s", n, dir)
		}
	}
}

// tally returns all groups of a tree.
func tally(tree *Tree) []string {
	if tree == nil {
		return nil
	}
	var all []string
	queue := everywhere(tree)
	for len(queue) > 0 {
		dir := queue[0]
		queue = queue[1:]
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		all = append(all, dir)
		for _, e := range entries {
			if e.IsDir() {
				queue = append(queue, dir+"/"+e.Name())
			}
		}
	}
	return all
}
