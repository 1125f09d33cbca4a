package sandboxtest_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/soulbox/soulbox/images"
	"github.com/soulbox/soulbox/images/imagetest"
	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

// importImage takes an image into the library of a test's engine.
func importImage(t *testing.T, p *sandboxtest.Parts, name string, img v1.Image) sandbox.Image {
	t.Helper()
	var entries []imagetest.Entry
	dir := imagetest.Layout(t, img)
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		entries = append(entries, imagetest.File(rel, string(b)))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	got, err := p.Engine.Images().Import(t.Context(), "", sandbox.ImageTarget{Tenant: sandbox.DefaultTenant, Name: name}, bytes.NewReader(imagetest.Tar(t, entries...)), "")
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// applets are what the tests' images have.
func applets() []string {
	return []string{"sh", "cat", "ls", "id", "env", "touch", "stat", "pwd", "echo", "test", "rm", "mkdir", "sort", "find", "chmod"}
}

// layered is an image of three layers that delete of each other.
func layered(t *testing.T) v1.Image {
	file, dir := imagetest.File, imagetest.Dir
	base := append(imagetest.Busybox(t, applets()...), dir("etc"), file("etc/passwd", "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"),
		dir("home"), dir("home/app").Owned(1000, 1000), file("home/app/mine", "m").Owned(1000, 1000), dir("data"), file("data/a", "1"), file("data/b", "1"), dir("data/sub"),
		file("data/sub/c", "1"), file("far", "f").Owned(5000, 5000), file("setuid", "s").WithMode(0o4755), dir("tree"), file("tree/old", "1"))
	second := []imagetest.Entry{file("data/.wh.a", ""), file("data/sub/.wh..wh..opq", ""), file("data/sub/d", "2"), file(".wh.tree", ""), file("tree/new", "2")}
	third := []imagetest.Entry{file("data/b", "3"), imagetest.Link("data/e", "data/b"), file("home/app/theirs", "t"),
		{Header: tar.Header{Name: "pipe", Typeflag: tar.TypeFifo, Mode: 0o644}}}
	return imagetest.Image(t, imagetest.Config{User: "app", WorkingDir: "/made/here", Env: []string{"PATH=/bin", "COLOR=blue", "not a variable", "=x"},
		Entrypoint: []string{"/bin/echo"}, Cmd: []string{"hello"}}, imagetest.Tar(t, base...), imagetest.Tar(t, second...), imagetest.Tar(t, third...))
}

// TestImage starts sandboxes on an image: layers lie over each other as they should, and what the image says is in force.
func TestImage(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	img := importImage(t, p, "layered", layered(t))
	b := open(t, p, sandbox.CreateSandbox{Image: "layered", Env: map[string]string{"SHAPE": "round"}})
	if b.Image != "layered:latest" || b.ImageDigest != img.Digest || b.User != "app" || b.Workdir != "/made/here" ||
		!slices.Equal(b.Command, []string{"/bin/echo", "hello"}) {
		t.Errorf("the record says image %q %s, user %q, workdir %q, command %q", b.Image, b.ImageDigest, b.User, b.Workdir, b.Command)
	}
	for _, c := range []struct{ name, script, want string }{
		{"who and where", "id -u; pwd", "1000\n/made/here\n"},
		{"environment", "echo $PATH $COLOR $SHAPE", "/bin blue round\n"},
		{"deleted and emptied", "cd /data; find . | sort", ".\n./b\n./e\n./sub\n./sub/d\n"},
		{"a directory in place of another", "ls /tree", "new\n"},
		{"hard links", "cat /data/b /data/e; test /data/b -ef /data/e && echo same", "33same\n"},
		{"owners", "stat -c '%u:%g %a' /far /setuid /home/app /home/app/mine /home/app/theirs", "65534:65534 644\n0:0 4755\n1000:1000 755\n1000:1000 644\n0:0 644\n"},
		{"its home can be written to", "echo x >/home/app/x && echo y >>/home/app/mine && cat /home/app/mine", "my\n"},
		{"tmp can be written to", "touch /tmp/x && stat -c %a /tmp", "1777\n"},
		{"what is root's cannot", "touch /data/x 2>/dev/null || echo no", "no\n"},
		{"a pipe", "test -p /pipe && echo pipe", "pipe\n"},
		{"nothing of the host", "ls -d /usr /lib 2>/dev/null; echo end", "end\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := b.with(t).run(sandbox.ProcessSpec{Args: []string{"/bin/sh", "-c", c.script}}); got.stdout != c.want {
				t.Errorf("%s: %v, want %q", c.script, got, c.want)
			}
		})
	}
	t.Run("what the request says wins", func(t *testing.T) {
		r := open(t, p, sandbox.CreateSandbox{Image: img.Digest, User: "root", Workdir: "/data", Env: map[string]string{"COLOR": "red"}})
		if got := r.with(t).run(sandbox.ProcessSpec{Args: []string{"/bin/sh", "-c", "id -u; pwd; echo $COLOR; rm /data/b; ls /data"}}); got.stdout != "0\n/data\nred\ne\nsub\n" {
			t.Errorf("%v", got)
		}
	})
	t.Run("sandboxes do not see each other's", func(t *testing.T) {
		if got := b.with(t).run(sandbox.ProcessSpec{Args: []string{"/bin/cat", "/data/b"}}); got.stdout != "3" {
			t.Errorf("after another sandbox removed its own: %v", got)
		}
	})
	t.Run("is not removed while it is used", func(t *testing.T) {
		remove := func() error {
			_, err := p.Engine.Images().Remove(t.Context(), sandbox.DefaultTenant, "", "layered")
			return err
		}
		if err := remove(); sandbox.KindOf(err) != sandbox.KindConflict {
			t.Errorf("Remove of an image in use: %v, want a conflict", err)
		}
		list, _, err := p.Engine.Sandboxes().List(t.Context(), sandbox.DefaultTenant, sandbox.SandboxFilter{States: []sandbox.SandboxState{sandbox.SandboxRunning}}, 10, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			if _, err := p.Engine.Sandboxes().Delete(t.Context(), s.Tenant, s.ID); err != nil {
				t.Fatal(err)
			}
		}
		if err := remove(); err != nil {
			t.Errorf("Remove of an image that nobody uses: %v", err)
		}
		if left, err := filepath.Glob(filepath.Join(p.RunDir, "library", "images", "*")); err != nil || len(left) > 0 {
			t.Errorf("mounted are %v (%v)", left, err)
		}
	})
}

// TestImageLies: an image that has links, files or nothing where a sandbox needs directories starts all the same, and
// reaches nothing of the host.
func TestImageLies(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	link := imagetest.Symlink
	for name, entries := range map[string][]imagetest.Entry{
		"links":    {link("proc", "/"), link("sys", "/sys"), link("dev", "/dev"), link("tmp", "/etc"), link("opt", "/root"), link("etc", "/etc"), link("work", ".."), link("home", "/home")},
		"files":    {imagetest.File("proc", "x"), imagetest.File("opt", "x"), imagetest.File("tmp", "x"), imagetest.File("etc", "x")},
		"deep":     {imagetest.Dir("opt"), link("opt/soulbox", "/root"), link(".soul", "/"), link(".soulbin", "/bin")},
		"accounts": {imagetest.Dir("etc"), link("etc/passwd", "/etc/shadow")},
	} {
		t.Run(name, func(t *testing.T) {
			importImage(t, p, "lies-"+name, imagetest.Image(t, imagetest.Config{Env: []string{"PATH=/bin"}}, imagetest.Tar(t, append(imagetest.Busybox(t, applets()...), entries...)...)))
			b := open(t, p, sandbox.CreateSandbox{Image: "lies-" + name})
			if got := b.with(t).run(sandbox.ProcessSpec{Args: []string{"/bin/sh", "-c", "id -u; test -d /proc/self && ls /opt/soulbox; ls -A /root 2>/dev/null; touch /tmp/x && echo ok"}}); got.stdout != "0\nbin\nlang\nok\n" {
				t.Errorf("%v", got)
			}
			b.delete()
		})
	}
}

// shRecipe runs programs with an image's shell.
const shRecipe = `
name = "sh"
title = "Shell"
extensions = [".sh"]
entrypoint = "main.sh"
sources = "entrypoint"
packages = ["busybox"]
needs = ["sh"]
[version]
args = ["sh", "-c", "echo version 1"]
pattern = 'version (\S+)'
[run]
args = ["sh", "{{.Entrypoint}}"]
[run.limits]
wall_time = "10s"
cpu_time = "10s"
memory = "64MiB"
processes = 64
open_files = 256
file_size = "1MiB"
disk = "1MiB"
inodes = 256
output = "1MiB"
[[samples]]
name = "hello"
code = "echo hello"
stdout = "hello\n"
`

// executeOn runs a program to its end.
func executeOn(t *testing.T, p *sandboxtest.Parts, r sandbox.Request) (sandbox.Execution, error) {
	t.Helper()
	h, err := p.Engine.Start(t.Context(), r)
	if err != nil {
		return sandbox.Execution{}, err
	}
	return h.Wait(t.Context())
}

// TestExecuteOnImage runs programs with what an image has, and nothing of the host's.
func TestExecuteOnImage(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "sh.toml"), []byte(shRecipe), 0o644); err != nil {
		t.Fatal(err)
	}
	catalog, err := images.LoadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	p := sandboxtest.Open(t, func(o *sandbox.Options) {
		o.Catalog = catalog
		o.Policy.Images = []string{"host", "tools*"}
	})
	img := importImage(t, p, "tools", imagetest.Image(t, imagetest.Config{Env: []string{"PATH=/tools:/bin", "COLOR=blue", "HOME=/nowhere"}},
		imagetest.Tar(t, append(imagetest.Busybox(t, applets()...), imagetest.Dir("tools"), imagetest.Link("tools/sh", "bin/busybox"))...)))
	importImage(t, p, "secret", imagetest.Image(t, imagetest.Config{}, imagetest.Tar(t, imagetest.Busybox(t, "sh")...)))
	x, err := executeOn(t, p, sandbox.Request{Language: "sh", Image: "tools", Code: "echo $PATH $COLOR $HOME; id -u; pwd; ls -d /usr 2>/dev/null; touch /x 2>/dev/null || echo read-only; touch y && echo y"})
	if err != nil {
		t.Fatal(err)
	}
	want := "/tools:/bin blue /work\n1000\n/work\nread-only\ny\n"
	if diff := cmp.Diff(want, string(x.Stdout)); diff != "" || x.Image != "tools:latest" || x.ImageDigest != img.Digest {
		t.Errorf("image %q %s, %v, stderr %q, stdout (-want +got):\n%s", x.Image, x.ImageDigest, x.Verdict, x.Stderr, diff)
	}
	for _, c := range []struct {
		image, language, reason string
	}{{"tools-none", "sh", "UNKNOWN_IMAGE"}, {"secret", "sh", "IMAGE_NOT_ALLOWED"}, {"tools", "python", "LANGUAGE_NOT_INSTALLED"}} {
		_, err := executeOn(t, p, sandbox.Request{Language: c.language, Image: c.image, Code: "x"})
		if e, ok := errors.AsType[*sandbox.Error](err); !ok || e.Reason != c.reason {
			t.Errorf("image %q, language %q: %v, want %s", c.image, c.language, err, c.reason)
		}
	}
	if x, err := executeOn(t, p, sandbox.Request{Language: "sh", Code: "ls -d /usr"}); err != nil || x.Image != "host" || !strings.Contains(string(x.Stdout), "/usr") {
		t.Errorf("on the host: %q, %q, %v", x.Image, x.Stdout, err)
	}
	if _, err := p.Engine.Images().Remove(t.Context(), sandbox.DefaultTenant, "", "tools"); err != nil {
		t.Errorf("Remove after the executions: %v", err)
	}
}
