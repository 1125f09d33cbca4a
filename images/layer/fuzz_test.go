package layer_test

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/soulbox/soulbox/images/imagetest"
	"github.com/soulbox/soulbox/images/layer"
)

// FuzzUnpack: whatever an archive holds, nothing appears beside the directory, what is written can be removed, and bytes
// and entries stay within their bounds. The second reading finds the same.
func FuzzUnpack(f *testing.F) {
	for _, entries := range [][]entry{
		{dir("a"), file("a/b", "x"), link("c", "a/b"), symlink("d", "/etc"), file("d/x", "y")},
		{file("../beside", "x")},
		{symlink("a", ".."), file("a/beside", "x")},
		{symlink("a", "../beside"), link("b", "a"), file("b", "x")},
		{file("a/.wh.b", ""), file("a/.wh..wh..opq", ""), dir("a/b"), file("a/b/c", "x")},
		{{Header: tar.Header{Name: "p", Typeflag: tar.TypeFifo, Mode: 0o600}}, {Header: tar.Header{Name: "c", Typeflag: tar.TypeChar}}},
		{file("a", "x").Owned(1000, 4_000_000_000), dir("a"), file("a", "y").WithMode(0o4755)},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, e := range entries {
			if e.Typeflag == tar.TypeReg {
				e.Size = int64(len(e.Content))
			}
			e.Format = tar.FormatGNU
			if err := w.WriteHeader(&e.Header); err != nil {
				f.Fatal(err)
			}
			if _, err := w.Write([]byte(e.Content)); err != nil {
				f.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes(), true)
		f.Add(b.Bytes(), false)
	}
	f.Add(imagetest.Tar(f, file("a", "x")), true)
	f.Fuzz(func(t *testing.T, data []byte, over bool) {
		parent := t.TempDir()
		root := filepath.Join(parent, "root")
		o := layer.Options{Owner: mine, MaxBytes: 1 << 20, MaxEntries: 100}
		do := layer.Unpack
		if over {
			do = layer.Apply
		}
		var first layer.Result
		for again := range 2 {
			if err := os.Mkdir(root, 0o700); err != nil {
				t.Fatal(err)
			}
			res, err := do(t.Context(), root, bytes.NewReader(data), o)
			if res.Bytes > o.MaxBytes || res.Entries > o.MaxEntries+1 {
				t.Errorf("%d bytes in %d entries (%v), beyond the bounds", res.Bytes, res.Entries, err)
			}
			if again == 0 {
				first = res
			} else if res.Bytes != first.Bytes || res.Entries != first.Entries {
				t.Errorf("the second reading has %d bytes in %d entries, the first %d in %d", res.Bytes, res.Entries, first.Bytes, first.Entries)
			}
			beside, err := os.ReadDir(parent)
			if err != nil || len(beside) != 1 {
				t.Fatalf("beside the directory lies %v (%v)", beside, err)
			}
			if err := os.Chmod(root, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(root); err != nil && os.Getuid() == 0 {
				t.Fatalf("what was written cannot be removed: %v", err)
			} else if err != nil {
				return // not by a plain user, out of directories without permissions
			}
		}
	})
}
