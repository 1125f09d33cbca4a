package library

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/soulbox/soulbox/images/imagetest"
	"github.com/soulbox/soulbox/images/layer"
)

// open opens a library that nothing is mounted of: whoever runs the test need not be root.
func open(t *testing.T, dir string) *Library {
	t.Helper()
	l, err := Open(Options{Dir: dir, Owner: func(int) (int, bool) { return os.Getuid(), false }, Mountpoints: []string{"proc"},
		probe: func(*Library) (error, error) { return nil, nil }})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func fresh(t *testing.T) *Library { return open(t, filepath.Join(t.TempDir(), "images")) }

// pack makes an archive of an OCI layout.
func pack(t *testing.T, dir string) []byte {
	t.Helper()
	var entries []imagetest.Entry
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		entries = append(entries, imagetest.File("./"+rel, string(b)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return imagetest.Tar(t, entries...)
}

// docker makes what docker save writes.
func docker(t *testing.T, tag string, img v1.Image) []byte {
	t.Helper()
	ref, err := name.NewTag(tag)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := tarball.Write(ref, img, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func twoLayers(t *testing.T, own string) v1.Image {
	return imagetest.Image(t, imagetest.Config{Env: []string{"A=b"}, User: "u:g", WorkingDir: "/w", Entrypoint: []string{"/e"}, Cmd: []string{"c"}},
		imagetest.Tar(t, imagetest.File("base", "base")), imagetest.Tar(t, imagetest.File("own", own)))
}

func add(t *testing.T, l *Library, name string, archive []byte) Image {
	t.Helper()
	img, err := l.Import(t.Context(), Target{Tenant: "t", Name: name, Source: "import"}, bytes.NewReader(archive), "", nil)
	if err != nil {
		t.Fatalf("import %s: %v", name, err)
	}
	return img
}

func TestImport(t *testing.T) {
	img := twoLayers(t, "1")
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		archive []byte
		digest  string // empty: one is made
	}{
		{"OCI layout", pack(t, imagetest.Layout(t, img)), digest.String()},
		{"docker archive", docker(t, "some/thing:1", img), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := fresh(t)
			got := add(t, l, "x/y", c.archive)
			if c.digest != "" && got.Digest != c.digest {
				t.Errorf("digest %s, want %s", got.Digest, c.digest)
			}
			want := Config{Env: []string{"A=b"}, User: "u:g", Workdir: "/w", Entrypoint: []string{"/e"}, Cmd: []string{"c"}}
			if diff := cmp.Diff(want, got.Config); diff != "" || got.Name != "x/y:latest" || len(got.Layers) != 2 {
				t.Errorf("image %q with %d layers, configuration (-want +got):\n%s", got.Name, len(got.Layers), diff)
			}
			for i, file := range []string{"base", "own"} {
				if _, err := os.Stat(l.path(layersDir, got.chains[i], treeName, file)); err != nil {
					t.Errorf("layer %d lacks its file: %v", i, err)
				}
			}
			for _, name := range []string{"x/y", "x/y:latest", got.Digest, hexOf(got.Digest)[:12]} {
				if found, err := l.Get("t", name); err != nil || found.Digest != got.Digest {
					t.Errorf("Get(%q) = %v, %v", name, found.Digest, err)
				}
			}
			for _, name := range []string{"x", "y", "x/y:1", hexOf(got.Digest)[:11], ""} {
				if found, err := l.Get("t", name); !errors.Is(err, ErrNotFound) {
					t.Errorf("Get(%q) = %v, %v, want %v", name, found, err, ErrNotFound)
				}
			}
			if _, err := l.Get("another", "x/y"); !errors.Is(err, ErrNotFound) {
				t.Errorf("another tenant's Get: %v, want %v", err, ErrNotFound)
			}
			again := add(t, fresh(t), "other", c.archive)
			if again.Digest != got.Digest {
				t.Errorf("the same archive has the digest %s, then %s", got.Digest, again.Digest)
			}
			roundTrip(t, l, got)
		})
	}
}

// roundTrip exports an image twice, the same, and imports it elsewhere.
func roundTrip(t *testing.T, l *Library, img Image) {
	t.Helper()
	var first, second bytes.Buffer
	if err := errors.Join(l.Export("t", img.Name, &first), l.Export("t", img.Digest, &second)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two exports differ")
	}
	if back := add(t, fresh(t), "back", first.Bytes()); back.Digest != img.Digest {
		t.Errorf("after export and import the digest is %s, not %s", back.Digest, img.Digest)
	}
	loaded, err := tarball.Image(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(first.Bytes())), nil }, nil)
	if err != nil {
		t.Fatalf("docker load would not read the export: %v", err)
	}
	if layers, err := loaded.Layers(); err != nil || len(layers) != len(img.Layers) {
		t.Errorf("docker load would find %d layers (%v), want %d", len(layers), err, len(img.Layers))
	}
}

// TestCompressed: layers come as they are, with gzip and with zstd.
func TestCompressed(t *testing.T) {
	plain := imagetest.Tar(t, imagetest.File("a", strings.Repeat("x", 10000)))
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(plain); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	l := fresh(t)
	img := imagetest.Image(t, imagetest.Config{}, plain)
	add(t, l, "plain", pack(t, imagetest.Layout(t, img)))
	squeezed, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(plain)), nil })
	if err != nil {
		t.Fatal(err)
	}
	both, err := mutate.AppendLayers(imagetest.Image(t, imagetest.Config{}), squeezed)
	if err != nil {
		t.Fatal(err)
	}
	if got := add(t, l, "gzip", pack(t, imagetest.Layout(t, both))); got.Layers[0].Digest == got.Layers[0].DiffID {
		t.Error("the layer was not compressed")
	}
	if dirs, err := os.ReadDir(l.path(layersDir)); err != nil || len(dirs) != 1 {
		t.Errorf("%d layers are unpacked (%v), want the one that both images have", len(dirs), err)
	}
}

func TestImportRefuses(t *testing.T) {
	good := imagetest.Layout(t, twoLayers(t, "1"))
	change := func(do func(dir string)) []byte {
		dir := filepath.Join(t.TempDir(), "layout")
		if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
			t.Fatal(err)
		}
		do(dir)
		return pack(t, dir)
	}
	layers, err := twoLayers(t, "1").Layers()
	if err != nil {
		t.Fatal(err)
	}
	h, err := layers[1].Digest()
	if err != nil {
		t.Fatal(err)
	}
	blob := filepath.Join("blobs", "sha256", h.Hex)
	other := twoLayers(t, "1")
	c, err := other.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	c.Architecture = "s390x"
	foreign, err := mutate.ConfigFile(other, c)
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	c.Architecture = ""
	c.RootFS.DiffIDs[1] = v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}
	lying, err := mutate.ConfigFile(other, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		archive []byte
		want    error
	}{
		{"nothing", nil, ErrContent},
		{"no archive", []byte(strings.Repeat("no archive", 100)), ErrContent},
		{"no image", imagetest.Tar(t, imagetest.File("a", "x")), ErrContent},
		{"another digest", change(func(dir string) { spoil(t, filepath.Join(dir, blob)) }), ErrContent},
		{"a layer too long", change(func(dir string) { lengthen(t, filepath.Join(dir, blob)) }), ErrContent},
		{"a layer missing", change(func(dir string) { remove(t, filepath.Join(dir, blob)) }), ErrContent},
		{"an index that is none", change(func(dir string) { write(t, filepath.Join(dir, "index.json"), "{") }), ErrContent},
		{"two images", pack(t, imagetest.Layout(t, twoLayers(t, "1"), twoLayers(t, "2"))), ErrContent},
		{"another machine's", pack(t, imagetest.Layout(t, foreign)), ErrContent},
		{"another content", pack(t, imagetest.Layout(t, lying)), ErrContent},
		{"no layers", pack(t, imagetest.Layout(t, imagetest.Image(t, imagetest.Config{}))), ErrContent},
		{"a hostile layer", pack(t, imagetest.Layout(t, imagetest.Image(t, imagetest.Config{}, imagetest.Tar(t, imagetest.File("../x", "x"))))), layer.ErrHostile},
		{"a bomb", pack(t, imagetest.Layout(t, bomb(t))), layer.ErrTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := fresh(t)
			if _, err := l.Import(t.Context(), Target{Tenant: "t", Name: "x"}, bytes.NewReader(c.archive), "", nil); !errors.Is(err, c.want) {
				t.Errorf("Import: %v, want %v", err, c.want)
			}
			if list, err := l.List("t"); err != nil || len(list) > 0 {
				t.Errorf("then there is %v (%v)", list, err)
			}
			if left, err := os.ReadDir(l.path(tmpDir)); err != nil || len(left) > 0 {
				t.Errorf("left are %v (%v)", left, err)
			}
		})
	}
	for _, name := range []string{"", "host", "a b", "A/../b", "a:b:c", "sha256:abc", strings.Repeat("a", 256), "-a", "a\n"} {
		if _, err := fresh(t).Import(t.Context(), Target{Name: name}, bytes.NewReader(nil), "", nil); !errors.Is(err, ErrName) {
			t.Errorf("Import as %q: %v, want %v", name, err, ErrName)
		}
	}
}

// bomb is an image whose layer of a few hundred kilobytes unpacks to 256 MiB.
func bomb(t *testing.T) v1.Image {
	t.Helper()
	var zipped bytes.Buffer
	z, err := gzip.NewWriterLevel(&zipped, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(imagetest.Tar(t, imagetest.File("a", strings.Repeat("\x00", 256<<20)))); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(imagetest.Image(t, imagetest.Config{}), static.NewLayer(zipped.Bytes(), types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func spoil(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	write(t, path, string(b))
}

func lengthen(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(b)+"x")
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// TestRemove: what images share stays until the last of them goes, and what is used stays.
func TestRemove(t *testing.T) {
	l := fresh(t)
	one := add(t, l, "one", pack(t, imagetest.Layout(t, twoLayers(t, "1"))))
	add(t, l, "two", pack(t, imagetest.Layout(t, twoLayers(t, "2"))))
	add(t, l, "again", pack(t, imagetest.Layout(t, twoLayers(t, "1"))))
	layers := func() int {
		dirs, err := os.ReadDir(l.path(layersDir))
		if err != nil {
			t.Fatal(err)
		}
		return len(dirs)
	}
	l.mu.Lock()
	release := l.holdLocked(one.Digest)
	l.mu.Unlock()
	for _, step := range []struct {
		name   string
		do     func() error
		want   error
		layers int
	}{
		{"by one of two names", func() error { _, err := l.Remove("t", "one"); return err }, nil, 3},
		{"in use", func() error { _, err := l.Remove("t", "again"); return err }, ErrInUse, 3},
		{"unknown", func() error { _, err := l.Remove("t", "one"); return err }, ErrNotFound, 3},
		{"another tenant's", func() error { _, err := l.Remove("u", "two"); return err }, ErrNotFound, 3},
		{"shared", func() error { _, err := l.Remove("t", "two"); return err }, nil, 2},
		{"moved and collected", func() error {
			add(t, l, "again", pack(t, imagetest.Layout(t, twoLayers(t, "3"))))
			_, err := l.Collect()
			return err
		}, nil, 3},
		{"not used any more", func() error {
			release()
			release()
			_, err := l.Collect()
			return err
		}, nil, 2},
		{"the last", func() error { _, err := l.Remove("t", "again"); return err }, nil, 0},
	} {
		if err := step.do(); !errors.Is(err, step.want) || layers() != step.layers {
			t.Errorf("%s: %v with %d layers left, want %v with %d", step.name, err, layers(), step.want, step.layers)
		}
	}
	if blobs, err := os.ReadDir(l.path(blobsDir)); err != nil || len(blobs) > 0 {
		t.Errorf("blobs are left: %v (%v)", blobs, err)
	}
}

func TestResolveUser(t *testing.T) {
	const passwd = "root:x:0:0:root:/root:/bin/sh\napp:x:999:999::/app:/bin/sh\nfar:x:65532:65532::/far:/bin/sh\nten:x:1010:7::/:/bin/sh\n"
	for _, c := range []struct {
		config, passwd, name, changed string
	}{
		{"", passwd, "root", ""},
		{"", "", "root", "root:x:0:0::/root:/bin/sh\n"},
		{"app", passwd, "app", ""},
		{"app:app", passwd, "app", ""},
		{"999", passwd, "app", ""},
		{"1010:3", passwd, "ten", ""},
		{"none", passwd, "none", ""},
		{"far", passwd, "far", strings.Replace(passwd, "65532:65532", "65534:65534", 1)},
		{"65532", passwd, "far", strings.Replace(passwd, "65532:65532", "65534:65534", 1)},
		{"5", passwd, "id5", passwd + "id5:x:5:0::/:/bin/sh\n"},
		{"5:6", "a:x:1:1::/:/bin/sh", "id5", "a:x:1:1::/:/bin/sh\nid5:x:5:6::/:/bin/sh\n"},
		{"4242:5", passwd, "id4242", passwd + "id4242:x:65534:65534::/:/bin/sh\n"},
		{"1031", passwd, "id1031", passwd + "id1031:x:65534:65534::/:/bin/sh\n"},
		{"-1", passwd, "id-1", passwd + "id-1:x:65534:65534::/:/bin/sh\n"},
	} {
		name, changed := resolveUser(c.config, []byte(c.passwd))
		if name != c.name || string(changed) != c.changed {
			t.Errorf("resolveUser(%q) = %q, %q; want %q, %q", c.config, name, changed, c.name, c.changed)
		}
	}
}
