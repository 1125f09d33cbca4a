package library

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/soulbox/soulbox/images/imagetest"
)

// cutter ends a context after some bytes, as a crash would end an import.
type cutter struct {
	r    io.Reader
	left int
	cut  context.CancelFunc
}

func (c *cutter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p[:min(len(p), 512)])
	if c.left -= n; c.left < 0 {
		c.cut()
	}
	return n, err
}

// TestCutOff cuts imports off in each of their stages and looks at what a next start finds.
func TestCutOff(t *testing.T) {
	archive := pack(t, imagetest.Layout(t, twoLayers(t, "1")))
	dir := filepath.Join(t.TempDir(), "images")
	stages := map[Stage]bool{}
	for n := 0; ; n++ {
		l := open(t, dir)
		ctx, cut := context.WithCancel(t.Context())
		seen := 0
		_, err := l.Import(ctx, Target{Tenant: "t", Name: "x"}, bytes.NewReader(archive), "", func(p Progress) {
			if seen++; seen > n {
				stages[p.Stage] = true
				cut()
			}
		})
		cut()
		next := open(t, dir)
		check(t, next)
		if err == nil {
			break
		}
		if list, err := next.List("t"); err != nil || len(list) > 0 {
			t.Fatalf("after a cut at event %d there is %v (%v)", n, list, err)
		}
		if n > 100 {
			t.Fatal("the import never ends")
		}
	}
	if !stages[StageDownload] {
		t.Errorf("imports were cut in %v only", stages)
	}
	// In the middle of what is sent, too.
	l := open(t, filepath.Join(t.TempDir(), "images"))
	ctx, cut := context.WithCancel(t.Context())
	_, err := l.Import(ctx, Target{Tenant: "t", Name: "x"}, &cutter{bytes.NewReader(archive), len(archive) / 2, cut}, "", nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Import: %v, want %v", err, context.Canceled)
	}
	check(t, l)
}

// check wants all blobs to have their digests, and all layers to be whole.
func check(t *testing.T, l *Library) {
	t.Helper()
	blobs, err := os.ReadDir(l.path(blobsDir))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blobs {
		f, err := os.Open(l.path(blobsDir, b.Name()))
		if err != nil {
			t.Fatal(err)
		}
		h, _, err := v1.SHA256(f)
		f.Close()
		if err != nil || h.Hex != b.Name() {
			t.Errorf("blob %s has the digest %s (%v)", b.Name(), h, err)
		}
	}
	dirs, err := os.ReadDir(l.path(layersDir))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		if _, err := l.layerRecord(d.Name()); err != nil {
			t.Errorf("layer %s is not whole: %v", d.Name(), err)
		}
	}
	if left, err := os.ReadDir(l.path(tmpDir)); err != nil || len(left) > 0 {
		t.Errorf("left are %v (%v)", left, err)
	}
}

// TestLeftovers: what a killed daemon was writing is gone at the next start, and nothing of it was ever found.
func TestLeftovers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "images")
	l := open(t, dir)
	add(t, l, "x", pack(t, imagetest.Layout(t, twoLayers(t, "1"))))
	half := l.path(tmpDir, "unpack-1", treeName, "bin")
	if err := os.MkdirAll(half, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(half, "sh"), "half")
	write(t, l.path(tmpDir, "write-1"), "half an index")
	next := open(t, dir)
	check(t, next)
	if list, err := next.List("t"); err != nil || len(list) != 1 {
		t.Errorf("images %v (%v), want the one", list, err)
	}
}

// TestConcurrent: imports of the same layers at once write them once and all succeed.
func TestConcurrent(t *testing.T) {
	l := fresh(t)
	errs := make(chan error)
	for i := range 8 {
		archive := pack(t, imagetest.Layout(t, twoLayers(t, fmt.Sprint(i%2))))
		go func() {
			_, err := l.Import(t.Context(), Target{Tenant: "t", Name: fmt.Sprint("x", i)}, bytes.NewReader(archive), "", nil)
			if err == nil && i%4 == 3 {
				_, err = l.Collect()
			}
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	check(t, l)
	list, err := l.List("t")
	if err != nil || len(list) != 8 {
		t.Fatalf("%d images (%v), want 8", len(list), err)
	}
	names := make([]string, 0, len(list))
	for _, i := range list {
		names = append(names, i.Name)
	}
	if !slices.IsSorted(names) {
		t.Errorf("images are listed as %v", names)
	}
}
