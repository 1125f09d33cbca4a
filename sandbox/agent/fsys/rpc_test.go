package fsys_test

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
	"github.com/soulbox/soulbox/sandbox/agent/fsys"
)

// asked is one call in a table of answers.
type asked struct {
	name string
	user string
	call func(ctx context.Context, tr *tree, user string) (*agentpb.EntryInfo, error)
	code connect.Code
	msg  string // part of the error
	path string // of the entry
}

func statOf(p string) func(context.Context, *tree, string) (*agentpb.EntryInfo, error) {
	return func(ctx context.Context, tr *tree, user string) (*agentpb.EntryInfo, error) {
		resp, err := tr.rpc.Stat(ctx, by(user, &agentpb.StatRequest{Path: p}))
		if err != nil {
			return nil, err
		}
		return resp.Msg.GetEntry(), nil
	}
}

func makeDir(p string) func(context.Context, *tree, string) (*agentpb.EntryInfo, error) {
	return func(ctx context.Context, tr *tree, user string) (*agentpb.EntryInfo, error) {
		resp, err := tr.rpc.MakeDir(ctx, by(user, &agentpb.MakeDirRequest{Path: p}))
		if err != nil {
			return nil, err
		}
		return resp.Msg.GetEntry(), nil
	}
}

func moveTo(from, to string) func(context.Context, *tree, string) (*agentpb.EntryInfo, error) {
	return func(ctx context.Context, tr *tree, user string) (*agentpb.EntryInfo, error) {
		resp, err := tr.rpc.Move(ctx, by(user, &agentpb.MoveRequest{Source: from, Destination: to}))
		if err != nil {
			return nil, err
		}
		return resp.Msg.GetEntry(), nil
	}
}

func removeOf(p string) func(context.Context, *tree, string) (*agentpb.EntryInfo, error) {
	return func(ctx context.Context, tr *tree, user string) (*agentpb.EntryInfo, error) {
		_, err := tr.rpc.Remove(ctx, by(user, &agentpb.RemoveRequest{Path: p}))
		return nil, err
	}
}

func listOf(p string, depth uint32) func(context.Context, *tree, string) (*agentpb.EntryInfo, error) {
	return func(ctx context.Context, tr *tree, user string) (*agentpb.EntryInfo, error) {
		_, err := tr.rpc.ListDir(ctx, by(user, &agentpb.ListDirRequest{Path: p, Depth: depth}))
		return nil, err
	}
}

func fill(tr *tree) {
	tr.write("home/user/file", "12345", userID, 0o640)
	tr.mkdir("home/user/dir/sub", userID, 0o755)
	tr.own("home/user/dir", userID, 0o755)
	tr.write("home/user/dir/a", "a", userID, 0o644)
	tr.write("home/user/dir/sub/b", "b", userID, 0o644)
	tr.link("dir", "home/user/link")
	tr.link("/nowhere", "home/user/broken")
	tr.link("loop", "home/user/loop")
	tr.write("srv", "root's", 0, 0o644)
}

// TestAnswers is the table of what envd answers, with the asking user's own rights.
func TestAnswers(t *testing.T) {
	for _, tc := range []asked{
		{name: "stat file", call: statOf("/home/user/file"), path: "/home/user/file"},
		{name: "stat relative", call: statOf("file"), path: "/home/user/file"},
		{name: "stat home", call: statOf("~"), path: "/home/user"},
		{name: "stat empty", call: statOf(""), path: "/home/user"},
		{name: "stat in home", call: statOf("~/file"), path: "/home/user/file"},
		{name: "stat root", call: statOf("/"), path: "/"},
		{name: "stat past root", call: statOf("/../../etc/passwd"), path: "/etc/passwd"},
		{name: "stat link", call: statOf("link"), path: "/home/user/link"},
		{name: "stat broken link", call: statOf("broken"), path: "/home/user/broken"},
		{name: "stat missing", call: statOf("/nope"), code: connect.CodeNotFound, msg: "does not exist"},
		{name: "stat below a file", call: statOf("file/x"), code: connect.CodeNotFound},
		{name: "stat forbidden", call: statOf("/root/x"), code: connect.CodePermissionDenied},
		{name: "stat as root", user: "root", call: statOf("/root"), path: "/root"},
		{name: "stat by number", user: "1001", call: statOf("."), path: "/home/other"},
		{name: "other's home", call: statOf("~other/x"), code: connect.CodeInvalidArgument},
		{name: "zero byte", call: statOf("a\x00b"), code: connect.CodeInvalidArgument},
		{name: "too long", call: statOf("/" + strings.Repeat("x/", 3000)), code: connect.CodeInvalidArgument},
		{name: "long element", call: statOf("/" + strings.Repeat("x", 300)), code: connect.CodeInvalidArgument},
		{name: "unknown user", user: "ghost", call: statOf("/"), code: connect.CodeUnauthenticated, msg: "invalid username: 'ghost'"},
		{name: "unknown number", user: "77", call: statOf("/"), code: connect.CodeUnauthenticated, msg: "invalid username: '77'"},

		{name: "make", call: makeDir("new/deep/er"), path: "/home/user/new/deep/er"},
		{name: "make through link", call: makeDir("link/x"), path: "/home/user/link/x"},
		{name: "make existing", call: makeDir("dir"), code: connect.CodeAlreadyExists},
		{name: "make existing link", call: makeDir("link"), code: connect.CodeAlreadyExists},
		{name: "make over file", call: makeDir("file"), code: connect.CodeInvalidArgument},
		{name: "make below file", call: makeDir("file/x"), code: connect.CodeInvalidArgument},
		{name: "make over broken link", call: makeDir("broken"), code: connect.CodeInvalidArgument},
		{name: "make root", call: makeDir("/"), code: connect.CodeAlreadyExists},
		{name: "make forbidden", call: makeDir("/opt/x"), code: connect.CodePermissionDenied},

		{name: "move", call: moveTo("file", "a/b/file2"), path: "/home/user/a/b/file2"},
		{name: "move dir", call: moveTo("dir", "dir2"), path: "/home/user/dir2"},
		{name: "move link itself", call: moveTo("link", "link2"), path: "/home/user/link2"},
		{name: "move missing", call: moveTo("nope", "x"), code: connect.CodeNotFound},
		{name: "move onto filled dir", call: moveTo("dir", "/tmp"), code: connect.CodePermissionDenied},
		{name: "move file onto dir", call: moveTo("file", "dir"), code: connect.CodeInvalidArgument},
		{name: "move root", call: moveTo("/", "x"), code: connect.CodeInvalidArgument},
		{name: "move into itself", call: moveTo("dir", "dir/sub/x"), code: connect.CodeInvalidArgument},
		{name: "move forbidden", call: moveTo("/srv", "x"), code: connect.CodePermissionDenied},

		{name: "remove file", call: removeOf("file")},
		{name: "remove tree", call: removeOf("dir")},
		{name: "remove missing", call: removeOf("nope/nope")},
		{name: "remove root", call: removeOf("/"), code: connect.CodeInvalidArgument},
		{name: "remove forbidden", call: removeOf("/srv"), code: connect.CodePermissionDenied},
		{name: "remove other's", call: removeOf("/etc"), code: connect.CodePermissionDenied},

		{name: "list missing", call: listOf("nope", 1), code: connect.CodeNotFound},
		{name: "list file", call: listOf("file", 1), code: connect.CodeInvalidArgument},
		{name: "list loop", call: listOf("loop", 1), code: connect.CodeInvalidArgument},
		{name: "list forbidden", call: listOf("/home/other", 1), code: connect.CodePermissionDenied},
		{name: "list root", call: listOf("/", 9)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tr := newTree(t, fsys.Options{})
			fill(tr)
			e, err := tc.call(t.Context(), tr, tc.user)
			if code(err) != tc.code || tc.msg != "" && !strings.Contains(err.Error(), tc.msg) {
				t.Fatalf("error = %v, want code %v and %q", err, tc.code, tc.msg)
			}
			if e.GetPath() != tc.path {
				t.Errorf("path = %q, want %q", e.GetPath(), tc.path)
			}
		})
	}
}

// TestMoveAcross moves to another file system.
func TestMoveAcross(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	fill(tr)
	tr.tmpfs("home/user/mnt")
	tr.must(unix.Setxattr(tr.host("home/user/file"), "user.e2b.kind", []byte("report"), 0))
	e, err := moveTo("file", "mnt/x/file")(t.Context(), tr, "")
	if err != nil {
		t.Fatal(err)
	}
	if e.GetSize() != 5 || e.GetMode() != 0o640 || e.GetOwner() != "user" || e.GetMetadata()["kind"] != "report" {
		t.Errorf("moved = %v", e)
	}
	if got := tr.read("home/user/file"); got != "(none)" {
		t.Errorf("the source is still there: %q", got)
	}
	if _, err := moveTo("dir", "mnt/dir")(t.Context(), tr, ""); code(err) != connect.CodeFailedPrecondition {
		t.Errorf("Move of a directory = %v, want failed_precondition", err)
	}
}

func TestRemoveLeavesTargets(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	fill(tr)
	tr.mkdir("home/user/tree", userID, 0o755)
	tr.link("../dir", "home/user/tree/l")
	tr.link("/", "home/user/tree/r")
	if _, err := removeOf("tree")(t.Context(), tr, ""); err != nil {
		t.Fatal(err)
	}
	if got := tr.read("home/user/dir/sub/b"); got != "b" {
		t.Errorf("behind the link: %q, want it untouched", got)
	}
	if got := tr.read("home/user/tree"); got != "(none)" {
		t.Errorf("the tree is still there: %q", got)
	}
}

func TestEntry(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	fill(tr)
	tr.must(unix.Setxattr(tr.host("home/user/file"), "user.e2b.kind", []byte("report"), 0))
	tr.must(unix.Setxattr(tr.host("home/user/file"), "user.other", []byte("x"), 0))
	tr.write("home/user/strange", "", 4242, 0o600)
	tr.must(os.Chmod(tr.host("home/user/strange"), 0o755|os.ModeSetuid))
	tr.must(syscall.Mkfifo(tr.host("home/user/fifo"), 0o644))
	for _, tc := range []struct {
		path string
		want *agentpb.EntryInfo
	}{
		{"file", &agentpb.EntryInfo{Name: "file", Type: 1, Size: 5, Mode: 0o640, Permissions: "-rw-r-----", Owner: "user", Group: "user",
			Metadata: map[string]string{"kind": "report"}}},
		{"dir", &agentpb.EntryInfo{Name: "dir", Type: 2, Mode: 0o755, Permissions: "drwxr-xr-x", Owner: "user", Group: "user"}},
		{"link", &agentpb.EntryInfo{Name: "link", Type: 2, Size: 3, Mode: 0o755, Permissions: "Lrwxrwxrwx", Owner: "user", Group: "user",
			SymlinkTarget: new("/home/user/dir")}},
		{"broken", &agentpb.EntryInfo{Name: "broken", Size: 8, Permissions: "Lrwxrwxrwx", Owner: "user", Group: "user",
			SymlinkTarget: new("/home/user/broken")}},
		{"loop", &agentpb.EntryInfo{Name: "loop", Size: 4, Permissions: "Lrwxrwxrwx", Owner: "user", Group: "user",
			SymlinkTarget: new("/home/user/loop")}},
		{"strange", &agentpb.EntryInfo{Name: "strange", Type: 1, Mode: 0o755, Permissions: "urwxr-xr-x", Owner: "4242", Group: "4242"}},
		{"fifo", &agentpb.EntryInfo{Name: "fifo", Mode: 0o644, Permissions: "prw-r--r--", Owner: "root", Group: "root"}},
	} {
		got, err := statOf(tc.path)(t.Context(), tr, "")
		if err != nil {
			t.Errorf("Stat(%q): %v", tc.path, err)
			continue
		}
		if got.GetModifiedTime().GetSeconds() == 0 {
			t.Errorf("Stat(%q) has no modification time", tc.path)
		}
		tc.want.Path, tc.want.ModifiedTime = "/home/user/"+tc.path, got.GetModifiedTime()
		if tc.want.Type == agentpb.FileType_FILE_TYPE_DIRECTORY && tc.want.SymlinkTarget == nil {
			tc.want.Size = got.GetSize() // the file system's business
		}
		if diff := cmp.Diff(tc.want.String(), got.String()); diff != "" {
			t.Errorf("Stat(%q):\n%s", tc.path, diff)
		}
	}
}

func TestList(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	fill(tr)
	tr.mkdir("home/user/closed", 0, 0o700)
	tr.write("home/user/closed/x", "", 0, 0o600)
	for _, tc := range []struct {
		path  string
		depth uint32
		want  []string
	}{
		{"dir", 0, []string{"/home/user/dir/a", "/home/user/dir/sub"}},
		{"dir", 1, []string{"/home/user/dir/a", "/home/user/dir/sub"}},
		{"dir", 2, []string{"/home/user/dir/a", "/home/user/dir/sub", "/home/user/dir/sub/b"}},
		{"link", 1, []string{"/home/user/link/a", "/home/user/link/sub"}},
		{"/home/user", 99, []string{
			"/home/user/broken", "/home/user/closed", "/home/user/dir", "/home/user/dir/a", "/home/user/dir/sub",
			"/home/user/dir/sub/b", "/home/user/file", "/home/user/link", "/home/user/loop",
		}},
	} {
		resp, err := tr.rpc.ListDir(t.Context(), by("", &agentpb.ListDirRequest{Path: tc.path, Depth: tc.depth}))
		if err != nil {
			t.Errorf("ListDir(%q, %d): %v", tc.path, tc.depth, err)
			continue
		}
		var got []string
		for _, e := range resp.Msg.GetEntries() {
			got = append(got, e.GetPath())
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("ListDir(%q, %d):\n%s", tc.path, tc.depth, diff)
		}
	}
}

// TestOwner holds whose what is made is, and who may make it.
func TestOwner(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    fsys.Options
		user string
		path string
		code connect.Code
		uid  uint32
	}{
		{"own rights, home", fsys.Options{}, "", "/home/user/x/y", 0, userID},
		{"own rights, elsewhere", fsys.Options{}, "", "/0/y", connect.CodePermissionDenied, 0},
		{"own rights, root", fsys.Options{}, "root", "/0/y", 0, 0},
		{"as root, elsewhere", fsys.Options{RootThenOwn: true}, "", "/0/y", 0, userID},
		{"as root, closed home", fsys.Options{RootThenOwn: true}, "user", "/home/other/y", 0, userID},
		{"default user", fsys.Options{DefaultUser: "other"}, "", "~/y", 0, otherID},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tr := newTree(t, tc.o)
			e, err := makeDir(tc.path)(t.Context(), tr, tc.user)
			if code(err) != tc.code {
				t.Fatalf("MakeDir(%q) = %v, want code %v", tc.path, err, tc.code)
			}
			if err != nil {
				return
			}
			var st unix.Stat_t
			tr.must(unix.Stat(tr.host(e.GetPath()), &st))
			if st.Uid != tc.uid || st.Gid != tc.uid || st.Mode&0o7777 != 0o755 {
				t.Errorf("%s is %d:%d %o, want %d:%d 755", e.GetPath(), st.Uid, st.Gid, st.Mode&0o7777, tc.uid, tc.uid)
			}
		})
	}
}
