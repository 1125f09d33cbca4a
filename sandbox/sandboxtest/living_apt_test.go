package sandboxtest_test

import (
	"testing"
	"time"

	"github.com/soulbox/soulbox/images/library"
	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

// TestApt builds a Debian, twice the same, and installs and removes a package in a sandbox on it: as its user by sudo, without network. It
// needs mmdebstrap and Debian's archive.
func TestApt(t *testing.T) {
	p := sandboxtest.Open(t, func(o *sandbox.Options) { o.Debian.Mirror = "http://deb.debian.org/debian" })
	said := 0
	build := func(name string) sandbox.Image {
		t.Helper()
		img, err := p.Engine.Images().Build(t.Context(), "", sandbox.ImageTarget{Tenant: sandbox.DefaultTenant, Name: name},
			sandbox.ImageBuild{Recipes: []string{"base"}, Snapshot: "20260101T000000Z"}, func(p sandbox.ImageProgress) {
				if p.Stage == library.StageBuild && p.Text != "" {
					said++
				}
			})
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	img := build("")
	if img.Name != "base:latest" || img.Source != "build base" || img.CreatedAt.Format(time.DateOnly) != "2026-01-01" || said == 0 {
		t.Errorf("the image is %q of %q and of %v after %d lines of progress", img.Name, img.Source, img.CreatedAt, said)
	}
	if again := build("again"); again.Digest != img.Digest {
		t.Errorf("another build of the same has the digest %s, not %s", again.Digest, img.Digest)
	}
	b := open(t, p, sandbox.CreateSandbox{Image: "base"})
	const makePackage = `mkdir -p p/DEBIAN p/usr/bin && printf 'Package: hello\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: says hello\n' >p/DEBIAN/control &&
printf '#!/bin/sh\necho Hello, world!\n' >p/usr/bin/hello && chmod 755 p/usr/bin/hello && dpkg-deb --root-owner-group -b p hello.deb >/dev/null && echo made`
	for _, step := range []struct{ name, script, want string }{
		{"who", "id -un; pwd", "user\n/home/user\n"},
		{"its home", "touch x && stat -c '%U' x .bashrc", "user\nuser\n"},
		{"sudo", "sudo id -u", "0\n"},
		{"not there", "hello 2>/dev/null || echo none", "none\n"},
		{"a package", makePackage, "made\n"},
		{"install", "sudo DEBIAN_FRONTEND=noninteractive apt-get install -qq -y ./hello.deb >/tmp/log 2>&1 && hello", "Hello, world!\n"},
		{"owned by root", "stat -c '%U %a' /usr/bin/hello", "root 755\n"},
		{"remove", "sudo apt-get remove -qq -y hello >/tmp/log 2>&1 && ls /usr/bin/hello 2>/dev/null || echo gone", "gone\n"},
		{"a user", "sudo useradd --create-home bob && sudo -u bob sh -c 'cd; pwd; touch x; id -un'", "/home/bob\nbob\n"},
	} {
		t.Run(step.name, func(t *testing.T) {
			b := b.with(t)
			if got := b.sh(step.script); got.stdout != step.want {
				t.Errorf("%s: %v, want %q; the log says %s", step.script, got, step.want, b.sh("cat /tmp/log").stdout)
			}
		})
	}
}
