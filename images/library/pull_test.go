package library

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/soulbox/soulbox/images/imagetest"
)

// large is an image with a layer of 4 MiB that cannot be compressed.
func large(t *testing.T) v1.Image {
	t.Helper()
	b := make([]byte, 4<<20)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return imagetest.Image(t, imagetest.Config{}, imagetest.Tar(t, imagetest.File("a", string(b))))
}

func digestOf(t *testing.T, img v1.Image) string {
	t.Helper()
	h, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h.String()
}

func pull(t *testing.T, l *Library, reference string) (Image, error) {
	t.Helper()
	return l.Pull(t.Context(), Target{Tenant: "t", Name: "pulled"}, reference, nil)
}

func TestPull(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	r := imagetest.StartRegistry(t, false)
	img := twoLayers(t, "1")
	r.Push("team/app:1", img)
	ref, err := name.ParseReference(r.Host + "/team/many:1")
	if err != nil {
		t.Fatal(err)
	}
	many := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: twoLayers(t, "2"), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}},
		mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: goarch(t, img)}}})
	if err := remote.WriteIndex(ref, many); err != nil {
		t.Fatal(err)
	}
	for _, reference := range []string{"team/app:1", "team/app@" + digestOf(t, img), "team/many:1"} {
		got, err := pull(t, fresh(t), r.Host+"/"+reference)
		if err != nil || got.Digest != digestOf(t, img) {
			t.Errorf("pull %s: %s, %v, want %s", reference, got.Digest, err, digestOf(t, img))
		}
	}
	for reference, want := range map[string]error{
		r.Host + "/team/none:1": ErrRegistry, r.Host + "/team/app:2": ErrRegistry, "127.0.0.1:1/x:1": ErrRegistry, "A B": ErrName,
		r.Host + "/team/app@sha256:" + strings.Repeat("0", 64): ErrRegistry,
	} {
		if _, err := pull(t, fresh(t), reference); !errors.Is(err, want) {
			t.Errorf("pull %s: %v, want %v", reference, err, want)
		}
	}
}

func goarch(t *testing.T, img v1.Image) string {
	t.Helper()
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return c.Architecture
}

// watcher notes the ranges that blobs are asked for with, and can cut or spoil what comes.
type watcher struct {
	mu     sync.Mutex
	ranges []string
	cut    int64 // of the next layer, bytes after which the connection breaks; 0: none
	cuts   int   // how often
	broke  func()
	spoil  bool
}

func (w *watcher) change(out http.ResponseWriter, req *http.Request) http.ResponseWriter {
	if !strings.Contains(req.URL.Path, "/blobs/") {
		return out
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ranges = append(w.ranges, req.Header.Get("Range"))
	return &spoiler{ResponseWriter: out, w: w}
}

type spoiler struct {
	http.ResponseWriter
	w    *watcher
	sent int64
}

// asked returns the ranges noted, and forgets them.
func (w *watcher) asked() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ranges := w.ranges
	w.ranges = nil
	return ranges
}

func (s *spoiler) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *spoiler) Write(p []byte) (int, error) {
	s.w.mu.Lock()
	cut := s.w.cut
	if cut > 0 && s.sent+int64(len(p)) > cut && s.w.cuts > 0 {
		s.w.cuts--
		broke := s.w.broke
		s.w.mu.Unlock()
		if f, ok := s.ResponseWriter.(http.Flusher); ok {
			f.Flush()
		}
		if broke != nil {
			broke()
		}
		panic(http.ErrAbortHandler)
	}
	if s.w.spoil {
		p = bytes.Clone(p)
		p[len(p)-1] ^= 1
	}
	s.w.mu.Unlock()
	s.sent += int64(len(p))
	return s.ResponseWriter.Write(p)
}

// TestPullGoesOn: a connection that breaks is made again, and the rest is asked for.
func TestPullGoesOn(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	r := imagetest.StartRegistry(t, false)
	img := large(t)
	r.Push("app:1", img)
	w := &watcher{cut: 1 << 20, cuts: 2}
	got, err := pull(t, fresh(t), r.Proxy(w.change)+"/app:1")
	if err != nil || got.Digest != digestOf(t, img) {
		t.Fatalf("pull: %s, %v, want %s", got.Digest, err, digestOf(t, img))
	}
	rest := 0
	ranges := w.asked()
	for _, asked := range ranges {
		if strings.HasPrefix(asked, "bytes=") {
			rest++
		}
	}
	if rest != 2 {
		t.Errorf("blobs were asked for by %q, want two for the rest of one", ranges)
	}
}

// TestRegistryDies in the middle of a pull, which fails; when it is back, the next pull goes on where that one was.
func TestRegistryDies(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	r := imagetest.StartRegistry(t, false)
	img := large(t)
	r.Push("app:1", img)
	dir := filepath.Join(t.TempDir(), "images")
	l := open(t, dir)
	w := &watcher{cut: 2 << 20, cuts: 1, broke: r.Kill}
	proxy := r.Proxy(w.change)
	if got, err := pull(t, l, proxy+"/app:1"); !errors.Is(err, ErrRegistry) {
		t.Fatalf("pull of a registry that dies: %v, %v, want %v", got.Digest, err, ErrRegistry)
	}
	if list, err := l.List("t"); err != nil || len(list) > 0 {
		t.Errorf("then there is %v (%v)", list, err)
	}
	r.Start()
	w.asked()
	got, err := pull(t, open(t, dir), proxy+"/app:1") // of the next daemon
	if err != nil || got.Digest != digestOf(t, img) {
		t.Fatalf("pull when it is back: %s, %v, want %s", got.Digest, err, digestOf(t, img))
	}
	if ranges := w.asked(); len(ranges) != 1 || !strings.HasPrefix(ranges[0], "bytes=") || ranges[0] == "bytes=0-" {
		t.Errorf("blobs were asked for by %q, want one for the rest", ranges)
	}
}

// TestPullSpoiled: what has not the digest that it should is refused, and not kept.
func TestPullSpoiled(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	r := imagetest.StartRegistry(t, false)
	img := large(t)
	r.Push("app:1", img)
	l := fresh(t)
	w := &watcher{spoil: true}
	proxy := r.Proxy(w.change)
	if _, err := pull(t, l, proxy+"/app:1"); !errors.Is(err, ErrContent) {
		t.Fatalf("pull of spoiled content: %v, want %v", err, ErrContent)
	}
	for _, dir := range []string{blobsDir, partialDir, layersDir} {
		if left, err := os.ReadDir(l.path(dir)); err != nil || len(left) > 0 {
			t.Errorf("in %s are left %v (%v)", dir, left, err)
		}
	}
	w.spoil = false
	if got, err := pull(t, l, proxy+"/app:1"); err != nil || got.Digest != digestOf(t, img) {
		t.Errorf("pull of the right content: %s, %v", got.Digest, err)
	}
}

// TestPullCredentials takes them from docker's configuration.
func TestPullCredentials(t *testing.T) {
	r := imagetest.StartRegistry(t, true)
	img := twoLayers(t, "1")
	r.Push("private:1", img)
	for _, c := range []struct {
		name, password string
		want           error
	}{{"right", imagetest.RegistryPassword, nil}, {"wrong", "wrong", ErrRegistry}, {"none", "", ErrRegistry}} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("DOCKER_CONFIG", dir)
			if c.password != "" {
				auth := base64.StdEncoding.EncodeToString([]byte(imagetest.RegistryUser + ":" + c.password))
				write(t, filepath.Join(dir, "config.json"), fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, r.Host, auth))
			}
			if _, err := pull(t, fresh(t), r.Host+"/private:1"); !errors.Is(err, c.want) {
				t.Errorf("pull: %v, want %v", err, c.want)
			}
		})
	}
}
