package fsys_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb/agentpbconnect"
	"github.com/soulbox/soulbox/sandbox/agent/fsys"
)

const (
	userID  = 1000
	otherID = 1001
	passwd  = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\nother:x:1001:1001::/home/other:/bin/sh\n"
	groups  = "root:x:0:\nuser:x:1000:\nother:x:1001:\nshared:x:2000:user,other\n"
)

// need skips t on hosts that lack a feature or a right. With SOULBOX_CI set it fails instead.
func need(t testing.TB, err error) {
	t.Helper()
	if (errors.Is(err, errors.ErrUnsupported) || errors.Is(err, os.ErrPermission)) && os.Getenv("SOULBOX_CI") == "" {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		need(t, fmt.Errorf("files of several users need root: %w", os.ErrPermission))
	}
}

// tree is a slot's root for a test, and what serves it.
type tree struct {
	t   testing.TB
	dir string // on the host
	svc *fsys.Service
	url string
	rpc agentpbconnect.FilesystemClient

	closeServer func() // returns when every request has been dealt with
}

// newTree serves a directory with users and homes.
func newTree(t testing.TB, o fsys.Options) *tree {
	t.Helper()
	needRoot(t)
	tr := &tree{t: t, dir: t.TempDir()}
	tr.mkdir("etc", 0, 0o755)
	tr.mkdir("root", 0, 0o700)
	tr.mkdir("tmp", 0, 0o1777)
	tr.mkdir("home", 0, 0o755)
	tr.mkdir("home/user", userID, 0o755)
	tr.mkdir("home/other", otherID, 0o700)
	tr.write("etc/passwd", passwd, 0, 0o644)
	tr.write("etc/group", groups, 0, 0o644)
	tr.write("etc/shadow", "secret", 0, 0o600)
	root, err := os.Open(tr.dir)
	tr.must(err)
	o.Root = root
	tr.svc, err = fsys.New(o)
	tr.must(errors.Join(err, root.Close()))
	srv := httptest.NewServer(tr.svc.Handler())
	tr.closeServer = sync.OnceFunc(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		srv.CloseClientConnections()
		srv.Close()
	})
	t.Cleanup(func() {
		tr.closeServer()
		tr.must(tr.svc.Close())
	})
	tr.url = srv.URL
	tr.rpc = agentpbconnect.NewFilesystemClient(srv.Client(), srv.URL, connect.WithProtoJSON())
	return tr
}

func (tr *tree) must(err error) {
	tr.t.Helper()
	if err != nil {
		tr.t.Fatal(err)
	}
}

func (tr *tree) host(p string) string { return filepath.Join(tr.dir, p) }

func (tr *tree) mkdir(p string, uid int, mode os.FileMode) {
	tr.t.Helper()
	tr.must(os.MkdirAll(tr.host(p), 0o755))
	tr.own(p, uid, mode)
}

func (tr *tree) write(p, content string, uid int, mode os.FileMode) {
	tr.t.Helper()
	tr.must(os.WriteFile(tr.host(p), []byte(content), 0o600))
	tr.own(p, uid, mode)
}

func (tr *tree) own(p string, uid int, mode os.FileMode) {
	tr.t.Helper()
	special := mode & 0o7000
	m := mode.Perm()
	if special&0o1000 != 0 {
		m |= os.ModeSticky
	}
	tr.must(errors.Join(os.Lchown(tr.host(p), uid, uid), os.Chmod(tr.host(p), m)))
}

func (tr *tree) link(target, p string) {
	tr.t.Helper()
	tr.must(errors.Join(os.Symlink(target, tr.host(p)), os.Lchown(tr.host(p), userID, userID)))
}

// tmpfs mounts a fast file system of the user's at p.
func (tr *tree) tmpfs(p string) {
	tr.t.Helper()
	tr.must(os.Mkdir(tr.host(p), 0o755))
	need(tr.t, unix.Mount("tmpfs", tr.host(p), "tmpfs", 0, "mode=0755,uid=1000,gid=1000"))
	tr.t.Cleanup(func() { tr.must(unix.Unmount(tr.host(p), unix.MNT_DETACH)) })
}

// read returns the content of p, or why there is none.
func (tr *tree) read(p string) string {
	b, err := os.ReadFile(tr.host(p))
	if errors.Is(err, os.ErrNotExist) {
		return "(none)"
	}
	tr.must(err)
	return string(b)
}

// by makes a request that user asks.
func by[T any](user string, m *T) *connect.Request[T] {
	req := connect.NewRequest(m)
	if user != "" {
		r := http.Request{Header: req.Header()}
		r.SetBasicAuth(user, "")
	}
	return req
}

// code is the code of an RPC's error; 0 for none.
func code(err error) connect.Code {
	if err == nil {
		return 0
	}
	return connect.CodeOf(err)
}
