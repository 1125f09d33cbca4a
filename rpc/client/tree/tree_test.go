package tree_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/rpc/client/tree"
)

// listing maps what is below dir to its mode and content, or target.
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || file == dir {
			return err
		}
		st, err := os.Lstat(file)
		if err != nil {
			return err
		}
		text := st.Mode().String()
		switch {
		case st.Mode().IsRegular():
			b, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			text += " " + string(b)
		case st.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(file)
			if err != nil {
				return err
			}
			text = "-> " + target
		}
		name, err := filepath.Rel(dir, file)
		out[name] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func root(t *testing.T, dir string) *os.Root {
	t.Helper()
	r, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func none(t *testing.T) func(name, why string) {
	return func(name, why string) { t.Errorf("%s was left out: %s", name, why) }
}

// A tree that is packed and unpacked is the same, over what was there.
func TestThereAndBack(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for name, mode := range map[string]fs.FileMode{"a": 0o644, "d/run": 0o755, "d/e/secret": 0o600} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(from, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(from, name), []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("../a", filepath.Join(from, "d/link")), os.Chmod(filepath.Join(from, "d/e"), 0o500),
		os.WriteFile(filepath.Join(to, "a"), []byte("old"), 0o600)); err != nil {
		t.Fatal(err)
	}
	var stream bytes.Buffer
	if err := tree.Pack(&stream, from, none(t)); err != nil {
		t.Fatal(err)
	}
	if err := tree.Unpack(root(t, to), &stream, none(t)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(listing(t, from), listing(t, to)); diff != "" {
		t.Errorf("(-from +to):\n%s", diff)
	}
	if n, err := tree.Size(from); n != int64(len("a")+len("d/run")+len("d/e/secret")) || err != nil {
		t.Errorf("Size = %d, %v", n, err)
	}
}

type entry struct {
	tar.Header
	content string
}

func stream(t *testing.T, entries ...entry) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size = int64(len(e.content))
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// Nothing that a stream says reaches beyond the directory.
func TestHostile(t *testing.T) {
	file := func(name string) entry {
		return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, "bad"}
	}
	link := func(kind byte, name, target string) entry {
		return entry{tar.Header{Typeflag: kind, Name: name, Linkname: target}, ""}
	}
	for name, tc := range map[string]struct {
		entries []entry
		refused bool
		left    []string // out
	}{
		"parent":            {[]entry{file("../evil")}, true, nil},
		"absolute":          {[]entry{file("/evil")}, true, nil},
		"hidden parent":     {[]entry{file("a/../../evil")}, true, nil},
		"link out":          {[]entry{link(tar.TypeSymlink, "l", "../outside"), file("l/evil")}, false, []string{"l"}},
		"absolute link":     {[]entry{link(tar.TypeSymlink, "l", "/etc")}, false, []string{"l"}},
		"hard link out":     {[]entry{link(tar.TypeLink, "l", "../victim")}, true, nil},
		"device":            {[]entry{{tar.Header{Typeflag: tar.TypeChar, Name: "tty"}, ""}}, false, []string{"tty"}},
		"through what lies": {[]entry{file("there/evil")}, true, nil},
		"over what lies":    {[]entry{file("there")}, false, nil},
		"setuid":            {[]entry{{tar.Header{Typeflag: tar.TypeReg, Name: "s", Mode: 0o4755}, "x"}}, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			dir, outside := filepath.Join(top, "dir"), filepath.Join(top, "outside")
			if err := errors.Join(os.Mkdir(dir, 0o755), os.Mkdir(outside, 0o755), os.WriteFile(filepath.Join(top, "victim"), []byte("good"), 0o600),
				os.Symlink("../outside", filepath.Join(dir, "there"))); err != nil {
				t.Fatal(err)
			}
			var left []string
			err := tree.Unpack(root(t, dir), stream(t, tc.entries...), func(name, _ string) { left = append(left, name) })
			if (err != nil) != tc.refused {
				t.Errorf("Unpack = %v, want an error: %t", err, tc.refused)
			}
			if diff := cmp.Diff(tc.left, left); diff != "" {
				t.Errorf("left out (-want +got):\n%s", diff)
			}
			all := listing(t, top)
			for name, what := range all {
				if filepath.Dir(name) == "outside" || name == "evil" || what[1] == 's' || len(what) > 3 && what[3] == 's' {
					t.Errorf("there is %s: %s", name, what)
				}
			}
			if all["victim"] != "-rw------- good" {
				t.Errorf("the victim is %q", all["victim"])
			}
		})
	}
}

// What is cut off leaves no file that is not whole.
func TestCut(t *testing.T) {
	dir := t.TempDir()
	b := stream(t, entry{tar.Header{Typeflag: tar.TypeReg, Name: "f", Mode: 0o644}, string(make([]byte, 4096))})
	if err := tree.Unpack(root(t, dir), bytes.NewReader(b.Bytes()[:1024]), none(t)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Unpack = %v, want an unexpected end", err)
	}
	if left := listing(t, dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// FuzzUnpack: whatever a sandbox sends, nothing appears beside the directory.
func FuzzUnpack(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "b/../.."}) // a seed
	_ = w.Close()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		top := t.TempDir()
		dir := filepath.Join(top, "dir")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		_ = tree.Unpack(root(t, dir), bytes.NewReader(data), func(string, string) {}) // errors are fine
		if entries, err := os.ReadDir(top); err != nil || len(entries) != 1 {
			t.Errorf("beside the directory: %v, %v", entries, err)
		}
	})
}
