package imagetest

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Entry is an entry of a layer: a header and, of a regular file, its content.
type Entry struct {
	tar.Header
	Content string
}

// Dir returns a directory. This and all others are root's.
func Dir(name string) Entry {
	return Entry{Header: tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: 0o755}}
}

// File returns a regular file.
func File(name, content string) Entry {
	return Entry{Header: tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, Content: content}
}

// Link returns a hard link.
func Link(name, target string) Entry {
	return Entry{Header: tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target, Mode: 0o644}}
}

// Symlink returns a symbolic link.
func Symlink(name, target string) Entry {
	return Entry{Header: tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}}
}

// Owned returns e with other ids.
func (e Entry) Owned(uid, gid int) Entry {
	e.Uid, e.Gid = uid, gid
	return e
}

// WithMode returns e with another mode.
func (e Entry) WithMode(mode int64) Entry {
	e.Mode = mode
	return e
}

// Tar returns an archive of entries.
func Tar(t testing.TB, entries ...Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if e.Typeflag == tar.TypeReg {
			e.Size = int64(len(e.Content))
		}
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatalf("write entry %q: %v", e.Name, err)
		}
		if _, err := w.Write([]byte(e.Content)); err != nil {
			t.Fatalf("write entry %q: %v", e.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Busybox returns the entries of a busybox in /bin, with names for the given applets. It needs the package busybox-static.
func Busybox(t testing.TB, applets ...string) []Entry {
	t.Helper()
	content, err := os.ReadFile("/usr/bin/busybox")
	if os.IsNotExist(err) {
		content, err = os.ReadFile("/bin/busybox")
	}
	if err != nil {
		t.Fatalf("the tests need a static busybox, of the package busybox-static: %v", err)
	}
	entries := []Entry{Dir("bin"), File("bin/busybox", string(content)).WithMode(0o755)}
	for _, a := range applets {
		entries = append(entries, Link("bin/"+a, "bin/busybox"))
	}
	return entries
}

// Config is what an image says of how programs run on it.
type Config = v1.Config

// Image returns an image for this host with layers, each an archive, the lowest first.
func Image(t testing.TB, config Config, layers ...[]byte) v1.Image {
	t.Helper()
	img := empty.Image
	var err error
	for _, l := range layers {
		if img, err = mutate.AppendLayers(img, static.NewLayer(l, types.OCIUncompressedLayer)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	c.OS, c.Architecture, c.Config = "linux", runtime.GOARCH, config
	if img, err = mutate.ConfigFile(img, c); err != nil {
		t.Fatal(err)
	}
	return mutate.MediaType(img, types.OCIManifestSchema1)
}

// Layout writes images as an OCI layout and returns its directory.
func Layout(t testing.TB, images ...v1.Image) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range images {
		if err := p.AppendImage(img); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
