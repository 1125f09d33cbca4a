package layer_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/images/imagetest"
	"github.com/soulbox/soulbox/images/layer"
)

type entry = imagetest.Entry

var (
	dir, file, link, symlink = imagetest.Dir, imagetest.File, imagetest.Link, imagetest.Symlink
)

// mine gives all files to whoever runs the test, who need not be root.
func mine(int) (int, bool) { return os.Getuid(), false }

// needWhiteouts skips where neither root nor a user namespace can make them; the e2e tests run these in one.
func canWhiteout(t *testing.T) bool { return layer.Whiteouts(t.TempDir()) == nil }

// look describes a tree: a line for each entry, its kind, path and content or target.
func look(t *testing.T, root string) (lines []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			opaque := ""
			var b [1]byte
			if n, err := unix.Lgetxattr(path, "user.overlay.opaque", b[:]); err == nil && n == 1 {
				opaque = " opaque"
			}
			lines = append(lines, "d "+rel+opaque)
		case d.Type()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			lines = append(lines, "l "+rel+" "+target)
		case d.Type()&fs.ModeNamedPipe != 0:
			lines = append(lines, "p "+rel)
		case d.Type()&fs.ModeCharDevice != 0:
			lines = append(lines, fmt.Sprintf("w %s %d", rel, info.Sys().(*syscall.Stat_t).Rdev))
		default:
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			lines = append(lines, fmt.Sprintf("f %s %q %o", rel, b, info.Mode().Perm()))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestUnpack(t *testing.T) {
	for _, c := range []struct {
		name      string
		entries   []entry
		want      []string
		whiteouts bool
	}{
		{name: "nothing"},
		{name: "a file and the directories to it", entries: []entry{file("a/b/c", "x")}, want: []string{"d a", "d a/b", `f a/b/c "x" 644`}},
		{name: "a slash and dots before", entries: []entry{file("/./a", "x"), dir("./d")}, want: []string{`f a "x" 644`, "d d"}},
		{name: "modes", entries: []entry{file("a", "x").WithMode(0o751), dir("d").WithMode(0o700)}, want: []string{`f a "x" 751`, "d d"}},
		{name: "a directory that cannot be written to", entries: []entry{dir("d").WithMode(0o555), file("d/a", "x")}, want: []string{"d d", `f d/a "x" 644`}},
		{name: "links that lead anywhere", entries: []entry{symlink("a", "/etc/passwd"), symlink("b", "../../x")}, want: []string{"l a /etc/passwd", "l b ../../x"}},
		{name: "hard links", entries: []entry{file("a", "x"), link("b", "a"), link("d/c", "/a")}, want: []string{`f a "x" 644`, `f b "x" 644`, "d d", `f d/c "x" 644`}},
		{name: "a hard link to a link", entries: []entry{symlink("a", "/etc/passwd"), link("b", "a")}, want: []string{"l a /etc/passwd", "l b /etc/passwd"}},
		{name: "a hard link to itself", entries: []entry{file("a", "x"), link("a", "./a")}, want: []string{`f a "x" 644`}},
		{name: "pipes", entries: []entry{{Header: tar.Header{Name: "p", Typeflag: tar.TypeFifo, Mode: 0o600}}}, want: []string{"p p"}},
		{name: "the same name twice", entries: []entry{file("a", "x"), file("a", "yy")}, want: []string{`f a "yy" 644`}},
		{name: "a file, then a directory", entries: []entry{file("a", "x"), dir("a"), file("a/b", "y")}, want: []string{"d a", `f a/b "y" 644`}},
		{name: "a directory, then a file", entries: []entry{file("a/b/c", "x"), file("a", "y")}, want: []string{`f a "y" 644`}},
		{name: "a link, then a directory", entries: []entry{symlink("a", "/etc"), dir("a"), file("a/b", "y")}, want: []string{"d a", `f a/b "y" 644`}},
		{name: "a link, then a file", entries: []entry{symlink("a", "/etc/passwd"), file("a", "y")}, want: []string{`f a "y" 644`}},
		{name: "a hard link, then a file", entries: []entry{file("a", "x"), link("b", "a"), file("b", "y")}, want: []string{`f a "x" 644`, `f b "y" 644`}},
		{name: "devices", entries: []entry{
			{Header: tar.Header{Name: "dev/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}}, {Header: tar.Header{Name: "sda", Typeflag: tar.TypeBlock}},
			{Header: tar.Header{Name: "gone", Typeflag: tar.TypeChar}}, file("a", "x"),
		}, want: []string{`f a "x" 644`}},
		{name: "a long name", entries: []entry{file(strings.Repeat("a", 255), "x")}, want: []string{"f " + strings.Repeat("a", 255) + ` "x" 644`}},
		{name: "a file is deleted", entries: []entry{dir("d"), file("d/.wh.a", "")}, want: []string{"d d", "w d/a 0"}, whiteouts: true},
		{name: "a directory is emptied", entries: []entry{file("d/.wh..wh..opq", ""), file("d/a", "x")}, want: []string{"d d opaque", `f d/a "x" 644`}, whiteouts: true},
		{name: "deleted and made anew", entries: []entry{file(".wh.a", ""), file("a", "x")}, want: []string{`f a "x" 644`}, whiteouts: true},
		{name: "made anew and deleted", entries: []entry{file("a", "x"), file(".wh.a", "")}, want: []string{`f a "x" 644`}, whiteouts: true},
		{name: "a directory in place of another", entries: []entry{file(".wh.d", ""), file("d/a", "x")}, want: []string{"d d opaque", `f d/a "x" 644`}, whiteouts: true},
		{name: "the other way about", entries: []entry{file("d/a", "x"), file(".wh.d", "")}, want: []string{"d d opaque", `f d/a "x" 644`}, whiteouts: true},
		{name: "what aufs left", entries: []entry{file(".wh..wh.plnk/1", ""), file(".wh..wh.aufs", "")}, want: nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.whiteouts && !canWhiteout(t) {
				return // not as a plain user; TestLayersInSandboxes has them in its user namespace
			}
			root := t.TempDir()
			if _, err := layer.Unpack(t.Context(), root, bytes.NewReader(imagetest.Tar(t, c.entries...)), layer.Options{Owner: mine}); err != nil {
				t.Fatal(err)
			}
			got := look(t, root)
			if c.name == "what aufs left" {
				got = nil // a directory that nobody sees may be left
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("tree differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnpackRefuses(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	long := strings.TrimSuffix(strings.Repeat("abcdefg/", 513), "/") // 4103 bytes
	for _, c := range []struct {
		name    string
		entries []entry
		options layer.Options
		want    error
	}{
		{"up", []entry{file("../x", "x")}, layer.Options{}, layer.ErrHostile},
		{"up in the middle", []entry{dir("a"), file("a/../../x", "x")}, layer.Options{}, layer.ErrHostile},
		{"through a link", []entry{symlink("a", outside), file("a/x", "x")}, layer.Options{}, layer.ErrHostile},
		{"through a link of links", []entry{symlink("a", "b"), symlink("b", outside), file("a/x", "x")}, layer.Options{}, layer.ErrHostile},
		{"through a relative link", []entry{dir("d"), symlink("a", "d"), file("a/x", "x")}, layer.Options{}, layer.ErrHostile},
		{"through a file", []entry{file("a", ""), file("a/x", "x")}, layer.Options{}, layer.ErrHostile},
		{"a swap", []entry{dir("a"), file("a/x", "x"), symlink("a", outside), file("a/x", "y")}, layer.Options{}, layer.ErrHostile},
		{"a directory through a link", []entry{symlink("a", outside), dir("a/x")}, layer.Options{}, layer.ErrHostile},
		{"deletes through a link", []entry{symlink("a", outside), file("a/.wh.x", "")}, layer.Options{}, layer.ErrHostile},
		{"empties through a link", []entry{symlink("a", outside), file("a/.wh..wh..opq", "")}, layer.Options{}, layer.ErrHostile},
		{"a hard link outside", []entry{link("a", "../../etc/passwd")}, layer.Options{}, layer.ErrHostile},
		{"a hard link to what is not there", []entry{link("a", "/etc/passwd")}, layer.Options{}, layer.ErrHostile},
		{"a hard link through a link", []entry{symlink("a", "/etc"), link("b", "a/passwd")}, layer.Options{}, layer.ErrHostile},
		{"a hard link to a directory", []entry{dir("d"), link("a", "d")}, layer.Options{}, layer.ErrHostile},
		{"a hard link to the root", []entry{link("a", "/")}, layer.Options{}, layer.ErrHostile},
		{"a hard link below itself", []entry{file("a/b", "x"), link("a", "a/b")}, layer.Options{}, layer.ErrHostile},
		{"a root that is a file", []entry{file(".", "x")}, layer.Options{}, layer.ErrHostile},
		{"a root that is a link", []entry{symlink("/", outside)}, layer.Options{}, layer.ErrHostile},
		{"a path of 4103 bytes", []entry{file(long, "x")}, layer.Options{}, layer.ErrHostile},
		{"a name of 256 bytes", []entry{file(strings.Repeat("a", 256), "x")}, layer.Options{}, layer.ErrHostile},
		{"a target of 4103 bytes", []entry{symlink("a", long)}, layer.Options{}, layer.ErrHostile},
		{"a link to nowhere", []entry{symlink("a", "")}, layer.Options{}, layer.ErrHostile},
		{"a whiteout of no name", []entry{file(".wh.", "")}, layer.Options{}, layer.ErrHostile},
		{"a whiteout of here", []entry{file("d/.wh..", "")}, layer.Options{}, layer.ErrHostile},
		{"a whiteout of above", []entry{file("d/.wh...", "")}, layer.Options{}, layer.ErrHostile},
		{"an unknown type", []entry{{Header: tar.Header{Name: "a", Typeflag: 'Z'}}}, layer.Options{}, layer.ErrHostile},
		{"too many bytes", []entry{file("a", "12345"), file("b", "12345")}, layer.Options{MaxBytes: 9}, layer.ErrTooLarge},
		{"too many entries", []entry{file("a", ""), file("b", ""), file("c", "")}, layer.Options{MaxEntries: 2}, layer.ErrTooLarge},
		{"the same entry too often", []entry{file("a", ""), file("a", ""), file("a", "")}, layer.Options{MaxEntries: 2}, layer.ErrTooLarge},
	} {
		for how, do := range map[string]func(context.Context, string) error{
			"unpack": func(ctx context.Context, root string) error {
				_, err := layer.Unpack(ctx, root, bytes.NewReader(imagetest.Tar(t, c.entries...)), withOwner(c.options))
				return err
			},
			"apply": func(ctx context.Context, root string) error {
				_, err := layer.Apply(ctx, root, bytes.NewReader(imagetest.Tar(t, c.entries...)), withOwner(c.options))
				return err
			},
		} {
			t.Run(c.name+"/"+how, func(t *testing.T) {
				root := t.TempDir()
				if err := do(t.Context(), root); !errors.Is(err, c.want) {
					t.Errorf("%s: %v, want %v", how, err, c.want)
				}
			})
		}
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside lies %v (%v), want nothing", entries, err)
	}
}

func withOwner(o layer.Options) layer.Options {
	o.Owner = mine
	return o
}

// TestDamaged: an archive that ends too early, or is none, is the archive's fault.
func TestDamaged(t *testing.T) {
	whole := imagetest.Tar(t, file("a", strings.Repeat("x", 3000)), file("b", "y"))
	for name, b := range map[string][]byte{
		"cut in a file": whole[:1000], "cut in a header": whole[:300], "no archive": bytes.Repeat([]byte("no archive "), 100),
	} {
		if _, err := layer.Unpack(t.Context(), t.TempDir(), bytes.NewReader(b), layer.Options{Owner: mine}); !errors.Is(err, layer.ErrHostile) {
			t.Errorf("%s: %v, want %v", name, err, layer.ErrHostile)
		}
	}
}

// TestSparse: what is all zeros takes no space, whether the archive says so or not.
func TestSparse(t *testing.T) {
	root, size := t.TempDir(), 8<<20
	content := strings.Repeat("\x00", size-1) + "x"
	res, err := layer.Unpack(t.Context(), root, bytes.NewReader(imagetest.Tar(t, file("a", content))), layer.Options{Owner: mine})
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, "a"))
	if err != nil || string(got) != content {
		t.Fatalf("content differs: %d bytes, %v", len(got), err)
	}
	info, err := os.Stat(filepath.Join(root, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if used := info.Sys().(*syscall.Stat_t).Blocks * 512; used > 1<<20 || res.Bytes != int64(size) {
		t.Errorf("%d bytes take %d on disk and count %d, want a hole", size, used, res.Bytes)
	}
}

// TestSparseBomb: a hole of the archive counts as much as data.
func TestSparseBomb(t *testing.T) {
	if _, err := layer.Unpack(t.Context(), t.TempDir(), bytes.NewReader(gnuSparse(t, 1<<40)), layer.Options{Owner: mine, MaxBytes: 1 << 30}); !errors.Is(err, layer.ErrTooLarge) {
		t.Errorf("a hole of 1 TiB: %v, want %v", err, layer.ErrTooLarge)
	}
}

// gnuSparse returns an archive of one file of the old GNU format that is all one hole but for its last byte.
func gnuSparse(t *testing.T, size int64) []byte {
	t.Helper()
	b := make([]byte, 3*512)
	put := func(at int, s string) { copy(b[at:], s) }
	put(0, "a")
	put(100, "0000644\x00")
	put(108, "0000000\x00")
	put(116, "0000000\x00")
	put(124, "00000000001\x00") // bytes that are stored
	put(136, "00000000000\x00")
	b[156] = 'S'
	put(257, "ustar  \x00")
	number := func(at int, n int64) { // of 12 bytes, base 256
		b[at] = 0x80
		for i := range 8 {
			b[at+11-i] = byte(n >> (8 * i))
		}
	}
	number(386, size-1)
	number(398, 1)
	number(483, size)
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	put(148, fmt.Sprintf("%06o\x00 ", sum))
	b[512] = 'x'
	return append(b, make([]byte, 1024)...)
}

// TestGNUSparse reads what the bomb is made of, small.
func TestGNUSparse(t *testing.T) {
	root := t.TempDir()
	if _, err := layer.Unpack(t.Context(), root, bytes.NewReader(gnuSparse(t, 1<<20)), layer.Options{Owner: mine}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, "a"))
	if err != nil || len(got) != 1<<20 || got[len(got)-1] != 'x' || got[0] != 0 {
		t.Errorf("%d bytes, %v; want 1 MiB that ends with x", len(got), err)
	}
}

// TestXattrs: those of users come along, those that overlayfs or the kernel give a meaning to do not.
func TestXattrs(t *testing.T) {
	root := t.TempDir()
	e := file("a", "x")
	e.PAXRecords = map[string]string{"SCHILY.xattr.user.mine": "1", "SCHILY.xattr.user.overlay.opaque": "y", "SCHILY.xattr.user.overlay.redirect": "/etc",
		"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.security.selinux": "z", "SCHILY.xattr.system.posix_acl_access": "z"}
	d := dir("d")
	d.PAXRecords = map[string]string{"SCHILY.xattr.user.overlay.opaque": "y", "SCHILY.xattr.user.d": "2"}
	if _, err := layer.Unpack(t.Context(), root, bytes.NewReader(imagetest.Tar(t, e, d)), layer.Options{Owner: mine}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a": "user.mine\x00", "d": "user.d\x00"} {
		buf := make([]byte, 1024)
		n, err := unix.Llistxattr(filepath.Join(root, name), buf)
		if err != nil || string(buf[:n]) != want {
			t.Errorf("%s has the attributes %q (%v), want %q", name, buf[:max(n, 0)], err, want)
		}
	}
}

// TestOwners: ids go through the map, absurd ones to nobody, and those that are each sandbox's own are noted.
func TestOwners(t *testing.T) {
	var asked []int
	o := layer.Options{Owner: func(id int) (int, bool) {
		asked = append(asked, id)
		return os.Getuid(), id == 1000
	}}
	negative := file("n", "")
	negative.Uid, negative.Gid, negative.Format = -1, 1<<40, tar.FormatGNU
	res, err := layer.Unpack(t.Context(), t.TempDir(), bytes.NewReader(imagetest.Tar(t, negative, file("a", "").Owned(1000, 0), file("b", "").Owned(7, 7))), o)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{layer.Nobody, layer.Nobody, 1000, 0, 7, 7, 0, 0}, asked); diff != "" {
		t.Errorf("ids that were mapped (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]layer.Own{{Path: "a", UID: 1000}}, res.Own); diff != "" {
		t.Errorf("own entries (-want +got):\n%s", diff)
	}
}

// TestApply puts layers over each other in one tree.
func TestApply(t *testing.T) {
	base := []entry{dir("d"), file("d/a", "1"), file("d/b", "1"), dir("d/s"), file("d/s/c", "1"), file("f", "1"), symlink("l", "/etc"), file("k/x", "1")}
	for _, c := range []struct {
		name  string
		layer []entry
		want  []string
	}{
		{"nothing", nil, []string{"d d", `f d/a "1" 644`, `f d/b "1" 644`, "d d/s", `f d/s/c "1" 644`, `f f "1" 644`, "d k", `f k/x "1" 644`, "l l /etc"}},
		{"deletes", []entry{file("d/.wh.a", ""), file(".wh.f", ""), file(".wh.l", ""), file(".wh.k", ""), file("d/.wh.none", "")},
			[]string{"d d", `f d/b "1" 644`, "d d/s", `f d/s/c "1" 644`}},
		{"empties, its own first", []entry{file("d/a", "2"), file("d/s/n", "2"), file("d/.wh..wh..opq", ""), file(".wh.k", ""), file(".wh.l", ""), file(".wh.f", "")},
			[]string{"d d", `f d/a "2" 644`, "d d/s", `f d/s/n "2" 644`}},
		{"empties all", []entry{file(".wh..wh..opq", ""), file("n", "2")}, []string{`f n "2" 644`}},
		{"writes where a link was", []entry{file("l/x", "2"), file(".wh.d", ""), file(".wh.k", ""), file(".wh.f", "")}, []string{"d l", `f l/x "2" 644`}},
		{"links to what lies below", []entry{link("n", "d/a"), file(".wh.k", ""), file(".wh.l", ""), file("d/.wh.s", ""), file(".wh.f", "")},
			[]string{"d d", `f d/a "1" 644`, `f d/b "1" 644`, `f n "1" 644`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			for _, l := range [][]entry{base, c.layer} {
				if _, err := layer.Apply(t.Context(), root, bytes.NewReader(imagetest.Tar(t, l...)), layer.Options{Owner: mine}); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(c.want, look(t, root)); diff != "" {
				t.Errorf("tree differs (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUnpackStops with its context.
func TestUnpackStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := layer.Unpack(ctx, t.TempDir(), bytes.NewReader(imagetest.Tar(t, file("a", ""))), layer.Options{Owner: mine}); !errors.Is(err, context.Canceled) {
		t.Errorf("Unpack: %v, want %v", err, context.Canceled)
	}
}
