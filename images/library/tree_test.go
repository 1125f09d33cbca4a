package library

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/soulbox/soulbox/images/imagetest"
)

// TestTree: where overlayfs cannot be used an image lies in one tree, with what its layers delete gone, and with what a
// sandbox needs in place of what is there.
func TestTree(t *testing.T) {
	l, err := Open(Options{Dir: filepath.Join(t.TempDir(), "images"), Owner: func(int) (int, bool) { return os.Getuid(), false },
		Mountpoints: []string{"proc", "opt/soulbox"}, probe: func(*Library) (error, error) { return errors.New("not here"), nil }})
	if err != nil {
		t.Fatal(err)
	}
	file := imagetest.File
	img := add(t, l, "x", pack(t, imagetest.Layout(t, imagetest.Image(t, imagetest.Config{User: "7"},
		imagetest.Tar(t, file("a", "1"), file("b", "1"), imagetest.Symlink("opt", "/etc"), imagetest.Symlink("proc", "/")),
		imagetest.Tar(t, file(".wh.a", ""), file("c", "2"))))))
	tree := l.path(treesDir, hexOf(img.Digest), treeName)
	for name, want := range map[string]bool{"a": false, "b": true, "c": true, "proc": true, "opt/soulbox": true, "etc/passwd": true} {
		info, err := os.Lstat(filepath.Join(tree, name))
		if there := err == nil; there != want || there && info.Mode()&os.ModeSymlink != 0 {
			t.Errorf("%s: there %t (%v), want %t, and no link", name, there, err, want)
		}
	}
	if b, err := os.ReadFile(filepath.Join(tree, "etc/passwd")); err != nil || string(b) != "id7:x:7:0::/:/bin/sh\n" {
		t.Errorf("etc/passwd is %q (%v)", b, err)
	}
	if layers, err := os.ReadDir(l.path(layersDir)); err != nil || len(layers) > 0 {
		t.Errorf("layers lie unpacked beside it: %v (%v)", layers, err)
	}
	if _, err := l.Remove("t", "x"); err != nil {
		t.Fatal(err)
	}
	if trees, err := os.ReadDir(l.path(treesDir)); err != nil || len(trees) > 0 {
		t.Errorf("left are %v (%v)", trees, err)
	}
}
