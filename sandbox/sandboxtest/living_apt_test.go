package sandboxtest_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/soulbox/soulbox/images"
	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

// TestApt installs and removes a package in a Debian of the sandbox's own: as the user by sudo, without network. It needs
// mmdebstrap and Debian's archive.
func TestApt(t *testing.T) {
	tree := debianTree(t)
	p := sandboxtest.Open(t, func(o *sandbox.Options) {
		o.Sandboxes.Images = map[string]*images.RootFS{"debian": images.Tree(tree)}
	})
	b := open(t, p, sandbox.CreateSandbox{Image: "debian"})
	for _, step := range []struct{ name, script, want string }{
		{"sudo", "sudo id -u", "0\n"},
		{"not there", "hello || echo none", "none\n"},
		{"install", "sudo DEBIAN_FRONTEND=noninteractive apt-get install -qq -y /opt/packages/*.deb >/tmp/log 2>&1 && hello", "Hello, world!\n"},
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

// debianTree makes a small Debian whose files belong to ids as sandboxes map them, with a package to install.
func debianTree(t *testing.T) string {
	t.Helper()
	tree := filepath.Join(t.TempDir(), "debian")
	cmd := exec.CommandContext(t.Context(), "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--include=sudo,passwd",
		"--dpkgopt=force-unsafe-io", `--aptopt=Acquire::Languages "none"`, `--aptopt=APT::Sandbox::User "root"`, "--dpkgopt=path-exclude=/usr/share/doc/*",
		"--customize-hook=useradd --root \"$1\" --uid 1000 --create-home --shell /bin/bash user",
		"--customize-hook=echo 'user ALL=(ALL:ALL) NOPASSWD: ALL' >\"$1/etc/sudoers.d/user\"",
		"--customize-hook=mkdir \"$1/opt/packages\" && cd \"$1/opt/packages\" && APT_CONFIG=\"$MMDEBSTRAP_APT_CONFIG\" apt-get -qq download hello",
		"bookworm", tree)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mmdebstrap: %v: %s", err, out)
	}
	if err := shiftIDs(tree); err != nil {
		t.Fatal(err)
	}
	return tree
}

// shiftIDs gives the files of id n to the id that a sandbox maps as n: what is below 1000, and nobody.
func shiftIDs(tree string) error {
	shift := func(id uint32) int {
		if id < 1000 {
			return int(id) + 1
		}
		return 1001
	}
	return filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if err := os.Lchown(path, shift(st.Uid), shift(st.Gid)); err != nil {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			return nil
		}
		return os.Chmod(path, info.Mode()) // setuid goes with the owner
	})
}
