package images

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// tree writes files into a new directory: "name" is a file, "name/" a directory, "name -> target" a link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		name, target, link := strings.Cut(name, " -> ")
		full := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(full), 0o755)
		switch {
		case err != nil:
		case link:
			err = os.Symlink(target, full)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(full, 0o755)
		default:
			err = os.WriteFile(full, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// listEtc lists what is below etc in dir.
func listEtc(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(filepath.Join(dir, "etc"), func(name string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(filepath.Join(dir, "etc"), name)
		if d != nil && !d.IsDir() {
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestBuildHostHostile(t *testing.T) {
	const pem = "-----BEGIN PRIVATE KEY-----\nx\n"
	root := tree(t, map[string]string{
		"usr/bin/true": "", "bin -> usr/bin": "", "lib -> /usr/lib": "", "lib64/ld.so": "", "sbin -> ../../root": "",
		"etc/passwd": "secret:x:0:0::/:/bin/sh\n", "etc/shadow": "secret", "etc/hostname": "secret", "etc/npmrc": "token",
		"etc/ssl/openssl.cnf": "ok", "etc/ssl/private/key.pem": "secret", "etc/ssl/certs/ca.pem": "ok",
		"etc/ssl/certs/leak.key": "secret", "etc/ssl/certs/combined.pem": pem, "etc/ssl/certs/mode.pem": "secret",
		"etc/ssl/certs/closed/a.pem":           "secret",
		"etc/ssl/certs/in.pem -> ca.pem":       "",
		"etc/ssl/certs/out.pem -> /root/x":     "",
		"etc/ssl/certs/up.pem -> ../../shadow": "",
		"etc/ssl/certs/priv -> ../private":     "",
		"etc/alternatives/java -> /usr/bin/j":  "",
		"etc/alternatives/evil -> /usr/../x":   "",
		"etc/localtime -> ../usr/share/z":      "",
		"etc/php/8.2/cli/php.ini":              "ok", "etc/php/8.2/fpm/pool.conf": "secret",
		"etc/ld.so.conf -> /home/x": "",
	})
	for name, mode := range map[string]fs.FileMode{"etc/ssl/certs/mode.pem": 0o640, "etc/ssl/certs/closed": 0o750} {
		if err := os.Chmod(filepath.Join(root, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(root, "etc/ssl/certs/pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(root, "etc/services"), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "host")
	r, err := BuildHost(t.Context(), dir, HostOptions{Root: root, Languages: []string{"go"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"alternatives/java", "group", "hostname", "hosts", "localtime", "mtab", "nsswitch.conf", "passwd",
		"php/8.2/cli/php.ini", "resolv.conf", "ssl/certs/ca.pem", "ssl/certs/in.pem", "ssl/openssl.cnf",
	}
	if diff := cmp.Diff(want, listEtc(t, dir)); diff != "" {
		t.Errorf("etc: want -, got +\n%s", diff)
	}
	for _, name := range listEtc(t, dir) {
		if data, err := os.ReadFile(filepath.Join(dir, "etc", name)); err == nil && strings.Contains(string(data), "secret") {
			t.Errorf("etc/%s holds a secret", name)
		}
	}
	var mounted []string
	for _, m := range r.Mounts {
		mounted = append(mounted, m.Destination)
		if !slices.Contains(m.Options, "ro") || !slices.Contains(m.Options, "nosuid") || !slices.Contains(m.Options, "nodev") {
			t.Errorf("mount %+v is not read-only, nosuid and nodev", m)
		}
	}
	if diff := cmp.Diff([]string{"/usr", "/lib64"}, mounted); diff != "" {
		t.Errorf("mounts: want -, got +\n%s", diff)
	}
	if target, err := os.Readlink(filepath.Join(dir, "bin")); target != "usr/bin" {
		t.Errorf("bin -> %q, %v, want usr/bin", target, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "sbin")); err == nil {
		t.Error("sbin leads out of the tree and was taken over")
	}
	for _, name := range []string{"proc", "dev", "work", ".soul", ".soulbin", "opt/soulbox/bin", "opt/soulbox/lang/go"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v, want a directory of 0755", name, info, err)
		}
	}
	if _, err := BuildHost(t.Context(), dir, HostOptions{Root: root}); err == nil {
		t.Error("BuildHost into a directory that is not empty succeeded")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := BuildHost(ctx, filepath.Join(t.TempDir(), "x"), HostOptions{Root: root}); err == nil {
		t.Error("BuildHost with a context that is done succeeded")
	}
}

func TestLookup(t *testing.T) {
	root := tree(t, map[string]string{
		"usr/bin/tool": "", "usr/bin/data": "", "usr/lib/x/real": "", "opt/other/prog": "", "usr/local/go/bin/go": "",
		"usr/bin/link -> /etc/alternatives/link": "", "etc/alternatives/link -> /usr/lib/x/real": "",
		"usr/bin/away -> /opt/other/prog": "", "usr/bin/loop -> loop": "", "usr/bin/up -> ../../../../usr/bin/tool": "",
		"bin -> usr/bin": "",
	})
	for _, name := range []string{"usr/bin/tool", "usr/lib/x/real", "opt/other/prog", "usr/local/go/bin/go"} {
		if err := os.Chmod(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r := &RootFS{source: root}
	for name, want := range map[string]string{
		"tool": "/usr/bin/tool", "go": "/usr/local/go/bin/go", "link": "/usr/bin/link", "up": "/usr/bin/up",
		"/bin/tool": "/bin/tool", "/usr/bin/data": "/usr/bin/data",
		"data": "", "away": "", "loop": "", "none": "", "": "", "a/b": "", "/opt/other/prog": "", "/etc/alternatives": "",
	} {
		got, ok := r.Lookup(name)
		if ok != (want != "") || ok && got != want {
			t.Errorf("Lookup(%q) = %q, %v, want %q", name, got, ok, want)
		}
	}
}

// TestBuildHostReal builds from this machine's own files, whatever they are.
func TestBuildHostReal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "host")
	r, err := BuildHost(t.Context(), dir, HostOptions{Languages: mustLoad(t).Names()})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range listEtc(t, dir) {
		if base := filepath.Base(name); strings.Contains(base, "shadow") || filepath.Ext(base) == ".key" {
			t.Errorf("etc/%s was copied", name)
		}
		info, err := os.Lstat(filepath.Join(dir, "etc", name))
		if err != nil || info.Mode()&fs.ModeSymlink == 0 && info.Mode().Perm()&^0o111 != 0o644 {
			t.Errorf("etc/%s: %v, %v, want a link or a file of 0644", name, info.Mode(), err)
		}
	}
	if len(r.Mounts) == 0 || r.Mounts[0].Source != "/usr" {
		t.Errorf("Mounts = %+v, want /usr first", r.Mounts)
	}
}

func TestBuildHostOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("without root only the caller's own id can be given")
	}
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 4321, 4322
	}
	dir := filepath.Join(t.TempDir(), "host")
	root := tree(t, map[string]string{"usr/bin/x": "", "bin -> usr/bin": "", "etc/services": "x"})
	if _, err := BuildHost(t.Context(), dir, HostOptions{Root: root, UID: uid, GID: gid}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".", "bin", "etc/services", "etc/passwd", "opt/soulbox/lang"} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != uid || int(st.Gid) != gid {
			t.Errorf("%s belongs to %d:%d, want %d:%d", name, st.Uid, st.Gid, uid, gid)
		}
	}
	if info, err := os.Stat(filepath.Join(root, "usr/bin")); err != nil || int(info.Sys().(*syscall.Stat_t).Uid) != os.Getuid() {
		t.Errorf("the host's own directory changed hands: %v, %v", info, err)
	}
}

func TestSpecGolden(t *testing.T) {
	adj := 100
	o := BundleOptions{
		Hostname:    "i0123456789abcdefghij",
		RootFS:      &RootFS{Dir: "/run/soulbox/images/host", Mounts: []specs.Mount{bindReadOnly("/usr", "/usr")}},
		UIDMappings: []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1, Size: 1000}, {ContainerID: 1000, HostID: 1002, Size: 32}},
		GIDMappings: []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1, Size: 1000}},
		SoulSource:  "/run/soulbox/boxes/i/soul", SoulBinSource: "/run/soulbox/bin/soul", ToolsSource: "/run/soulbox/bin/tools",
		Prepared:    []Prepared{{Language: "cpp", Source: "/var/p/cpp"}, {Language: "go", Source: "/var/p/go", Writable: true}},
		Args:        []string{"/.soulbin/agent"},
		Rlimits:     []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: 4096, Soft: 4096}},
		OOMScoreAdj: &adj, CgroupsPath: "soulbox/i/agent",
	}
	golden(t, "spec.json", Spec(o))
	// What a caller does to a specification must not reach the next one.
	Spec(o).Mounts[0].Options[0] = "changed"
	*Spec(o).Process.OOMScoreAdj = 1
	golden(t, "spec.json", Spec(o))
}
