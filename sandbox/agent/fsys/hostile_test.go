package fsys_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
	"github.com/soulbox/soulbox/sandbox/agent/fsys"
)

// soon fails the test when f takes longer than anything here may.
func soon(t *testing.T, f func(ctx context.Context)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatal("it blocks")
	}
}

// TestSpecialFiles asks for the content of what is no regular file.
func TestSpecialFiles(t *testing.T) {
	for _, user := range []string{"user", "root"} {
		tr := newTree(t, fsys.Options{})
		tr.must(syscall.Mkfifo(tr.host("home/user/fifo"), 0o666))
		need(t, unix.Mknod(tr.host("home/user/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		need(t, unix.Mknod(tr.host("home/user/tty"), unix.S_IFCHR|0o666, int(unix.Mkdev(5, 0))))
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		tr.must(err)
		defer unix.Close(fd)
		tr.must(unix.Bind(fd, &unix.SockaddrUnix{Name: tr.host("home/user/sock")}))
		tr.link("fifo", "home/user/to-fifo")
		for _, name := range []string{"fifo", "null", "tty", "sock", "to-fifo"} {
			soon(t, func(ctx context.Context) {
				p := "/home/user/" + name
				if got := tr.do("GET", files("path", p, "username", user), nil, nil); got.status != 400 {
					t.Errorf("GET %s by %s = %d %s, want 400", p, user, got.status, got.body)
				}
				if got := tr.do("POST", files("path", p, "username", user), head("Content-Type", "application/octet-stream"), strings.NewReader("x")); got.status != 400 {
					t.Errorf("POST %s by %s = %d %s, want 400", p, user, got.status, got.body)
				}
				body := fmt.Sprintf(`{"source_paths":[%q],"destination":"/tmp/x","username":%q}`, p, user)
				if got := tr.do("POST", "/files/compose", nil, strings.NewReader(body)); got.status != 400 {
					t.Errorf("compose %s by %s = %d %s, want 400", p, user, got.status, got.body)
				}
				if _, err := tr.rpc.ListDir(ctx, by(user, &agentpb.ListDirRequest{Path: p})); code(err) != connect.CodeInvalidArgument {
					t.Errorf("ListDir(%s) by %s = %v, want invalid_argument", p, user, err)
				}
				if _, err := tr.rpc.CreateWatcher(ctx, by(user, &agentpb.CreateWatcherRequest{Path: p})); code(err) != connect.CodeInvalidArgument {
					t.Errorf("CreateWatcher(%s) by %s = %v, want invalid_argument", p, user, err)
				}
			})
		}
		// A table of users that is a pipe is an empty one.
		tr.must(os.Remove(tr.host("etc/passwd")))
		tr.must(syscall.Mkfifo(tr.host("etc/passwd"), 0o666))
		soon(t, func(context.Context) {
			if _, err := tr.svc.Lookup("root"); err == nil {
				t.Error("Lookup found a user in a pipe")
			}
		})
	}
}

// TestWayOut tries every link that could lead out of the root.
func TestWayOut(t *testing.T) {
	tr := newTree(t, fsys.Options{RootThenOwn: true})
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	tr.must(os.WriteFile(secret, []byte("host"), 0o644))
	up := strings.Repeat("../", 40)
	tr.link(up+outside, "home/user/dots")
	tr.link(outside, "home/user/absolute")
	tr.link(up, "home/user/top")
	tr.mkdir("proc", 0, 0o755)
	need(t, unix.Mount("proc", tr.host("proc"), "proc", 0, ""))
	defer func() { tr.must(unix.Unmount(tr.host("proc"), unix.MNT_DETACH)) }()
	self := fmt.Sprintf("/proc/%d/", os.Getpid())
	tr.link(self+"root", "home/user/magic")
	f, err := os.Open(outside)
	tr.must(err)
	defer f.Close()
	for _, p := range []string{
		"dots/secret", "absolute/secret", up + secret, "top" + secret, "magic" + secret, self + "root" + secret, self + "cwd/doc.go",
		fmt.Sprintf("%sfd/%d/secret", self, f.Fd()), "/proc/self/root" + secret, "/proc/thread-self/root" + secret,
	} {
		for _, h := range []http.Header{nil, head("Accept-Encoding", "gzip")} {
			if got := tr.do("GET", files("path", p), h, nil); got.status < 400 {
				t.Errorf("GET %s = %d %q, want an error", p, got.status, got.body)
			}
		}
		if got := tr.do("POST", files("path", p), head("Content-Type", "application/octet-stream"), strings.NewReader("x")); got.status == 200 {
			// It may have been made inside, where the link leads from the slot's own root.
			if b, err := os.ReadFile(secret); err != nil || string(b) != "host" {
				t.Fatalf("POST %s changed the host's file: %q, %v", p, b, err)
			}
		}
		dir := filepath.Dir(p)
		_, _ = tr.rpc.Remove(t.Context(), by("", &agentpb.RemoveRequest{Path: p}))
		_, _ = tr.rpc.MakeDir(t.Context(), by("", &agentpb.MakeDirRequest{Path: dir + "/made"}))
		_, _ = tr.rpc.Move(t.Context(), by("", &agentpb.MoveRequest{Source: "/etc/group", Destination: dir + "/moved"}))
	}
	entries, err := os.ReadDir(outside)
	tr.must(err)
	if len(entries) != 1 {
		t.Errorf("outside are %v, want the secret alone", entries)
	}
}

// TestProcFile reads a file that states no size, and none of what the agent alone may read.
func TestProcFile(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	tr.mkdir("proc", 0, 0o755)
	need(t, unix.Mount("proc", tr.host("proc"), "proc", 0, ""))
	defer func() { tr.must(unix.Unmount(tr.host("proc"), unix.MNT_DETACH)) }()
	if got := tr.do("GET", files("path", "/proc/version"), nil, nil); got.status != 200 || !strings.HasPrefix(got.body, "Linux") {
		t.Errorf("GET /proc/version = %d %q", got.status, got.body)
	}
	for _, user := range []string{"user", "root"} {
		// Of root's capabilities those about files are left, so the first process has more.
		p := "/proc/1/environ"
		if got := tr.do("GET", files("path", p, "username", user), nil, nil); got.status != 403 {
			t.Errorf("GET %s by %s = %d, want 403", p, user, got.status)
		}
	}
}

// TestSwap puts a link in the place of a directory while it is worked on.
func TestSwap(t *testing.T) {
	tr := newTree(t, fsys.Options{RootThenOwn: true})
	outside := t.TempDir()
	tr.must(os.WriteFile(filepath.Join(outside, "f"), []byte("host"), 0o644))
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	at := tr.host("home/user/swap")
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			_ = os.Mkdir(at, 0o777)
			_ = os.WriteFile(at+"/f", []byte("slot"), 0o666)
			_ = os.RemoveAll(at)
			target := outside
			if i%2 == 0 {
				target = strings.Repeat("../", 30) + outside
			}
			_ = os.Symlink(target, at)
			_ = os.Remove(at)
		}
	})
	for range 150 {
		if got := tr.do("GET", files("path", "swap/f"), nil, nil); got.status == 200 && got.body == "host" {
			t.Error("a download left the root")
		}
		_ = tr.do("POST", files("path", "swap/f"), head("Content-Type", "application/octet-stream"), strings.NewReader("slot"))
		_, _ = tr.rpc.MakeDir(ctx, by("", &agentpb.MakeDirRequest{Path: "swap/made/deep"}))
		_, _ = tr.rpc.ListDir(ctx, by("", &agentpb.ListDirRequest{Path: "swap", Depth: 3}))
		_, _ = tr.rpc.Remove(ctx, by("", &agentpb.RemoveRequest{Path: "swap"}))
	}
	stop()
	wg.Wait()
	entries, err := os.ReadDir(outside)
	tr.must(err)
	if b, err := os.ReadFile(filepath.Join(outside, "f")); err != nil || string(b) != "host" || len(entries) != 1 {
		t.Errorf("outside: %v, f = %q (%v), want it untouched", entries, b, err)
	}
}

func TestHugeDirectory(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	tr.tmpfs("home/user/mnt")
	tr.mkdir("home/user/mnt/huge", userID, 0o755)
	dir, err := os.Open(tr.host("home/user/mnt/huge"))
	tr.must(err)
	defer dir.Close()
	for i := range 100_000 {
		tr.must(unix.Mknodat(int(dir.Fd()), fmt.Sprintf("file-%d", i), unix.S_IFREG|0o644, 0))
	}
	soon(t, func(ctx context.Context) {
		if _, err := listOf("mnt/huge", 1)(ctx, tr, ""); code(err) != connect.CodeResourceExhausted {
			t.Errorf("ListDir = %v, want resource_exhausted", err)
		}
	})
	soon(t, func(ctx context.Context) {
		if _, err := removeOf("mnt/huge")(ctx, tr, ""); err != nil {
			t.Errorf("Remove = %v", err)
		}
		if got := tr.read("home/user/mnt/huge"); got != "(none)" {
			t.Error("it is still there")
		}
	})
}

func TestDeepTree(t *testing.T) {
	for _, tc := range []struct {
		depth        int
		name         string
		list, remove connect.Code
		listed       int
	}{
		{200, "d", 0, 0, 200},
		{200, strings.Repeat("d", 200), connect.CodeResourceExhausted, 0, 0}, // longer than a path can be
		{5000, "d", connect.CodeResourceExhausted, connect.CodeResourceExhausted, 0},
	} {
		tr := newTree(t, fsys.Options{})
		tr.tmpfs("home/user/mnt")
		tr.mkdir("home/user/mnt/deep", userID, 0o755)
		at, err := os.Open(tr.host("home/user/mnt/deep"))
		tr.must(err)
		for range tc.depth {
			tr.must(unix.Mkdirat(int(at.Fd()), tc.name, 0o777))
			fd, err := unix.Openat(int(at.Fd()), tc.name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
			tr.must(err)
			tr.must(unix.Fchown(fd, userID, userID))
			tr.must(at.Close())
			at = os.NewFile(uintptr(fd), "deep")
		}
		tr.must(at.Close())
		soon(t, func(ctx context.Context) {
			resp, err := tr.rpc.ListDir(ctx, by("", &agentpb.ListDirRequest{Path: "mnt/deep", Depth: 1 << 20}))
			if code(err) != tc.list {
				t.Errorf("ListDir of %d levels of %d bytes = %v, want code %v", tc.depth, len(tc.name), err, tc.list)
			} else if err == nil && len(resp.Msg.GetEntries()) != tc.listed {
				t.Errorf("ListDir of %d levels = %d entries, want %d", tc.depth, len(resp.Msg.GetEntries()), tc.listed)
			}
			if _, err := tr.rpc.Remove(ctx, by("", &agentpb.RemoveRequest{Path: "mnt/deep"})); code(err) != tc.remove {
				t.Errorf("Remove of %d levels = %v, want code %v", tc.depth, err, tc.remove)
			}
		})
	}
}

func TestNamesNotUTF8(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	bad := "a\xffb"
	tr.write("home/user/"+bad, "x", userID, 0o644)
	tr.link("\xfe", "home/user/l\xff")
	resp, err := tr.rpc.ListDir(t.Context(), by("", &agentpb.ListDirRequest{Path: "."}))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range resp.Msg.GetEntries() {
		if !utf8.ValidString(e.GetName()) || !strings.Contains(e.GetName(), "\uFFFD") {
			t.Errorf("name = %q, want U+FFFD in it", e.GetName())
		}
	}
	if got := len(resp.Msg.GetEntries()); got != 2 {
		t.Errorf("%d entries, want 2", got)
	}
	// A URL can hold what protobuf cannot.
	got := tr.do("GET", files("path", bad), nil, nil)
	if got.status != 200 || got.body != "x" {
		t.Errorf("GET = %d %q", got.status, got.body)
	}
	if got := tr.do("GET", files("path", bad+"-none"), nil, nil); got.status != 404 || !utf8.ValidString(got.body) {
		t.Errorf("GET = %d %q, want 404 in UTF-8", got.status, got.body)
	}
}

// TestGrowing downloads a file that grows all the while, and one that shrinks.
func TestGrowing(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	tr.write("home/user/log", strings.Repeat("x", 1<<20), userID, 0o644)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		f, err := os.OpenFile(tr.host("home/user/log"), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		for ctx.Err() == nil {
			_, _ = f.Write(make([]byte, 4096))
		}
	})
	soon(t, func(context.Context) {
		for _, h := range []http.Header{nil, head("Accept-Encoding", "gzip")} {
			if got := tr.do("GET", files("path", "log"), h, nil); got.status != 200 || len(got.body) == 0 {
				t.Errorf("GET = %d, %d bytes", got.status, len(got.body))
			}
		}
	})
	stop()
	wg.Wait()

	const size = 64 << 20 // more than sockets hold, so that it is not sent before it shrinks
	for _, encoding := range []string{"identity", "gzip"} {
		tr.must(os.Truncate(tr.host("home/user/log"), 0))
		noise, err := os.Open("/dev/urandom")
		tr.must(err)
		f, err := os.OpenFile(tr.host("home/user/log"), os.O_WRONLY, 0)
		tr.must(err)
		_, err = io.CopyN(f, noise, size)
		tr.must(err)
		_ = noise.Close()
		tr.must(f.Close())
		req, err := http.NewRequestWithContext(t.Context(), "GET", tr.url+files("path", "log"), nil)
		tr.must(err)
		req.Header.Set("Accept-Encoding", encoding)
		resp, err := http.DefaultTransport.RoundTrip(req)
		tr.must(err)
		tr.must(os.Truncate(tr.host("home/user/log"), 10))
		if n, err := io.Copy(io.Discard, resp.Body); err == nil {
			t.Errorf("%s: %d bytes of a file that shrank came without an error", encoding, n)
		}
		_ = resp.Body.Close()
	}
}

// TestLease asks for a file on which a program holds a lease: an open that waits would wait for the program.
func TestLease(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	tr.write("home/user/leased", "x", userID, 0o644)
	f, err := os.OpenFile(tr.host("home/user/leased"), os.O_RDWR, 0)
	tr.must(err)
	defer f.Close()
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
	need(t, err)
	start := time.Now()
	soon(t, func(context.Context) {
		if got := tr.do("GET", files("path", "leased"), nil, nil); got.status != 503 {
			t.Errorf("GET = %d %s, want 503", got.status, got.body)
		}
	})
	if d := time.Since(start); d > 10*time.Second { // the kernel breaks leases after 45 s
		t.Errorf("GET took %v", d)
	}
}
