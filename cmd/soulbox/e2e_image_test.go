package main_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/soulbox/soulbox/images/imagetest"
)

// startImageDaemon starts a daemon whose images are removed with it: they belong to ids that only it could remove them as.
func startImageDaemon(t *testing.T, args ...string) *daemon {
	t.Helper()
	state := filepath.Join(t.TempDir(), "state")
	t.Cleanup(func() {
		if err := removeAll(state); err != nil {
			t.Error(err)
		}
	})
	return startDaemonIn(t, state, args...)
}

// TestImages gets images by all ways through the command line, and runs programs in them.
func TestImages(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	registry := imagetest.StartRegistry(t, false)
	img := imagetest.Image(t, imagetest.Config{Env: []string{"PATH=/bin", "COLOR=blue"}, WorkingDir: "/data", Entrypoint: []string{"echo"}, Cmd: []string{"hello", "you"}},
		imagetest.Tar(t, append(imagetest.Busybox(t, "sh", "echo", "id", "pwd", "cat"), imagetest.File("data/x", "x\n"))...))
	registry.Push("team/app:1", img)
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	d := startImageDaemon(t)
	archive := filepath.Join(t.TempDir(), "app.tar")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"image", "pull", "--name", "app", registry.Host + "/team/app:1"}, "app:latest " + digest.String()},
		{[]string{"image", "import", "-q", "--name", "local:1", imagetest.Layout(t, img)}, digest.String()},
		{[]string{"image", "list", "-q"}, "app:latest\nlocal:1"},
		{[]string{"image", "list", "--format", "{{.Name}} {{.Layers}} {{.Source}}"}, "app:latest 1 pull " + registry.Host + "/team/app:1\nlocal:1 1 import"},
		{[]string{"image", "inspect", "--format", "{{.Digest}} {{.Workdir}} {{json .Command}}", "app"}, digest.String() + ` /data ["echo","hello","you"]`},
		{[]string{"image", "export", "-o", archive, "app"}, ""},
		{[]string{"image", "import", "--name", "back", archive}, "back:latest " + digest.String()},
		{[]string{"image", "rm", "back", "local:1"}, "back\nlocal:1"},
		{[]string{"image", "gc"}, "0 B freed: 0 layers, 0 blobs, 0 unfinished downloads"},
		{[]string{"__complete", "soulbox", "image", "rm", ""}, "app:latest\nhost"},
		{[]string{"__complete", "soulbox", "sandbox", "create", "--image", "a"}, "app:latest"},
	} {
		if got := d.soulbox(t, c.args...); got != c.want {
			t.Errorf("soulbox %s: %q, want %q", strings.Join(c.args, " "), got, c.want)
		}
	}
	var list struct {
		Images []struct{ Name, Digest string }
	}
	if err := json.Unmarshal([]byte(d.soulbox(t, "image", "list", "--json")), &list); err != nil || len(list.Images) != 1 || list.Images[0].Digest != digest.String() {
		t.Errorf("image list --json: %v, %v", list, err)
	}
	d.soulbox(t, "sandbox", "create", "--name", "box", "--image", "app")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"exec", "box"}, "hello you"},
		{[]string{"exec", "box", "sh", "-c", "id -u; pwd; echo $COLOR; cat x"}, "0\n/data\nblue\nx"},
		{[]string{"exec", "box", "echo", "its entrypoint has no part in this"}, "its entrypoint has no part in this"},
		{[]string{"sandbox", "list", "--filter", "image=app:latest", "--format", "{{.Image}}"}, "app:latest"},
	} {
		if got := d.soulbox(t, c.args...); got != c.want {
			t.Errorf("soulbox %s: %q, want %q", strings.Join(c.args, " "), got, c.want)
		}
	}
	d.kill(t) // the next daemon keeps both
	if got := d.soulbox(t, "exec", "box", "cat", "/data/x"); got != "x" {
		t.Errorf("in a sandbox that outlived its daemon: %q", got)
	}
	out, err := d.command(t, "image", "rm", "app").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "in use") {
		t.Errorf("image rm of one in use: %v, %s", err, out)
	}
	d.soulbox(t, "sandbox", "rm", "box")
	d.soulbox(t, "image", "rm", "--all")
	if left, err := os.ReadDir(filepath.Join(d.state, "images", "layers")); err != nil || len(left) > 0 {
		t.Errorf("left are %v (%v)", left, err)
	}
}

// TestImageAPI uses images over plain HTTP, and what refuses.
func TestImageAPI(t *testing.T) {
	d := startImageDaemon(t, "--images", "host,good*", "--image", "good")
	img := imagetest.Image(t, imagetest.Config{Env: []string{"PATH=/bin"}}, imagetest.Tar(t, imagetest.Busybox(t, "sh", "echo")...))
	dir := imagetest.Layout(t, img)
	var archive []imagetest.Entry
	if err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		archive = append(archive, imagetest.File(rel, string(b)))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	content := string(imagetest.Tar(t, archive...))
	for _, name := range []string{"good", "bad"} {
		d.do(t, http.MethodPut, "/v1/images?name="+name, content).want(t, http.StatusOK)
	}
	for _, c := range []struct {
		method, path string
		body         any
		status       int
		reason       string
	}{
		{http.MethodGet, "/v1/images:inspect?name=good", nil, 200, ""},
		{http.MethodGet, "/v1/images:inspect?name=none", nil, 404, "IMAGE_NOT_FOUND"},
		{http.MethodGet, "/v1/images:inspect", nil, 400, "INVALID_ARGUMENT"},
		{http.MethodGet, "/v1/images:export?name=none", nil, 404, "IMAGE_NOT_FOUND"},
		{http.MethodPut, "/v1/images?name=x", "no archive", 400, "IMAGE_REFUSED"},
		{http.MethodPut, "/v1/images?name=a+b", content, 400, "BAD_IMAGE_NAME"},
		{http.MethodPost, "/v1/images:pull", object{"reference": "127.0.0.1:1/x"}, 503, "REGISTRY_FAILED"},
		{http.MethodPost, "/v1/images:build", object{"recipes": []string{"cobol"}}, 400, "UNKNOWN_LANGUAGE"},
		{http.MethodPost, "/v1/sandboxes", object{"image": "bad"}, 403, "IMAGE_NOT_ALLOWED"},
		{http.MethodPost, "/v1/sandboxes", object{"image": "good-none"}, 400, "UNKNOWN_IMAGE"},
		{http.MethodPost, "/v1/executions", object{"language": "python", "code": "1"}, 503, "LANGUAGE_NOT_INSTALLED"}, // the default image has none
		{http.MethodPost, "/v1/images:remove", object{"name": "bad"}, 200, ""},
		{http.MethodPost, "/v1/images:collect", object{}, 200, ""},
	} {
		a := d.do(t, c.method, c.path, c.body)
		var failure struct{ Reason string }
		_ = json.Unmarshal(a.Body, &failure) // an answer that is none of these has no reason
		if a.Status != c.status || failure.Reason != c.reason {
			t.Errorf("%s %s: %d %s, want %d %s", c.method, c.path, a.Status, a.Body, c.status, c.reason)
		}
	}
	out := d.do(t, http.MethodGet, "/v1/images:export?name=good", nil)
	if out.Status != http.StatusOK || !bytes.Contains(out.Body, []byte("oci-layout")) {
		t.Errorf("export: %d, %d bytes", out.Status, len(out.Body))
	}
	d.do(t, http.MethodPut, "/v1/images?name=again", string(out.Body)).want(t, http.StatusOK)
	var box struct{ Image, ImageDigest string }
	if err := json.Unmarshal(d.do(t, http.MethodPost, "/v1/sandboxes", object{}).Body, &box); err != nil || box.Image != "good:latest" || !strings.HasPrefix(box.ImageDigest, "sha256:") {
		t.Errorf("a sandbox of the default image: %+v, %v", box, err)
	}
}
