package fsys_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
	"github.com/soulbox/soulbox/sandbox/agent/fsys"
)

// watched is a stream of events.
type watched struct {
	t      *testing.T
	stream *connect.ServerStreamForClient[agentpb.WatchDirResponse]
	seen   []string
}

// watchDir begins a stream and waits for its start.
func (tr *tree) watchDir(t *testing.T, req *agentpb.WatchDirRequest) *watched {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	stream, err := tr.rpc.WatchDir(ctx, by("", req))
	tr.must(err)
	t.Cleanup(func() { _ = stream.Close() })
	if !stream.Receive() || stream.Msg().GetStart() == nil {
		t.Fatalf("first message = %v (%v), want start", stream.Msg(), stream.Err())
	}
	return &watched{t: t, stream: stream}
}

func label(e *agentpb.FilesystemEvent) string {
	return strings.TrimPrefix(e.GetType().String(), "EVENT_TYPE_") + " " + e.GetName()
}

// until receives events until one has the label, and returns that one.
func (w *watched) until(want string) *agentpb.FilesystemEvent {
	w.t.Helper()
	for w.stream.Receive() {
		if e := w.stream.Msg().GetFilesystem(); e != nil {
			w.seen = append(w.seen, label(e))
			if label(e) == want {
				return e
			}
		}
	}
	w.t.Fatalf("the stream ended with %v after %q, want %s", w.stream.Err(), w.seen, want)
	return nil
}

func TestWatchDir(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	tr.mkdir("home/user/w", userID, 0o755)
	tr.mkdir("home/user/w/sub", userID, 0o755)
	at := func(p string) string { return tr.host("home/user/w/" + p) }
	w := tr.watchDir(t, &agentpb.WatchDirRequest{Path: "w"})
	tr.must(os.WriteFile(at("f"), []byte("x"), 0o644))
	w.until("CREATE f")
	w.until("WRITE f")
	tr.must(os.Chmod(at("f"), 0o600))
	w.until("CHMOD f")
	tr.must(os.Rename(at("f"), at("g")))
	w.until("RENAME f")
	if e := w.until("CREATE g"); e.Entry != nil {
		t.Errorf("an entry nobody asked for: %v", e)
	}
	tr.must(os.WriteFile(at("sub/deep"), []byte("x"), 0o644))
	tr.must(os.Remove(at("g")))
	w.until("REMOVE g")
	tr.must(os.WriteFile(at("bad\xff"), nil, 0o644))
	w.until("CREATE bad\uFFFD")
	tr.must(os.RemoveAll(at("")))
	w.until("REMOVE .")
	for _, s := range w.seen {
		if strings.Contains(s, "deep") {
			t.Errorf("%s: told of what lies deeper", s)
		}
	}
}

// TestWatchUpload holds that an upload looks as if it were written in place, which E2B's clients expect.
func TestWatchUpload(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	tr.mkdir("home/user/w", userID, 0o755)
	w := tr.watchDir(t, &agentpb.WatchDirRequest{Path: "w", IncludeEntry: true})
	for _, content := range []string{"x", "longer"} {
		if got := tr.do("POST", files("path", "w/f"), head("Content-Type", "application/octet-stream"), strings.NewReader(content)); got.status != 200 {
			t.Fatalf("upload: %d %s", got.status, got.body)
		}
		e := w.until("WRITE f")
		if e.GetEntry().GetPath() != "/home/user/w/f" || e.GetEntry().GetOwner() != "user" {
			t.Errorf("entry = %v", e.GetEntry())
		}
	}
	if want := []string{"CREATE f", "WRITE f", "WRITE f"}; !slices.Equal(w.seen, want) {
		t.Errorf("events = %q, want %q", w.seen, want)
	}
}

func TestWatchRecursive(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	tr.mkdir("home/user/w/old", userID, 0o755)
	tr.mkdir("home/user/away", userID, 0o755)
	outside := t.TempDir()
	at := func(p string) string { return tr.host("home/user/w/" + p) }
	tr.link("../../away", "home/user/w/old/link")
	w := tr.watchDir(t, &agentpb.WatchDirRequest{Path: "w", Recursive: true, IncludeEntry: true})
	tr.must(os.WriteFile(at("old/f"), []byte("x"), 0o644))
	w.until("CREATE old/f")
	tr.must(os.MkdirAll(at("new/deep/er"), 0o755))
	w.until("CREATE new/deep/er")
	tr.must(os.WriteFile(at("new/deep/er/f"), []byte("x"), 0o644))
	if e := w.until("CREATE new/deep/er/f"); e.GetEntry().GetPath() != "/home/user/w/new/deep/er/f" {
		t.Errorf("entry = %v", e.GetEntry())
	}
	// Moved inside, it is watched under its new name; moved out, not at all.
	tr.must(os.Rename(at("new/deep"), at("moved")))
	w.until("RENAME new/deep")
	w.until("CREATE moved/er/f")
	tr.must(os.WriteFile(at("moved/er/g"), nil, 0o644))
	w.until("CREATE moved/er/g")
	tr.must(os.Rename(at("moved"), tr.host("home/user/away/moved")))
	w.until("RENAME moved")
	tr.must(os.WriteFile(tr.host("home/user/away/moved/er/unseen"), nil, 0o644))
	// A link to a directory is an entry and no way out.
	tr.must(os.Symlink(outside, at("out")))
	w.until("CREATE out")
	tr.must(os.WriteFile(filepath.Join(outside, "unseen"), nil, 0o644))
	tr.must(os.WriteFile(tr.host("home/user/away/unseen"), nil, 0o644))
	tr.must(os.WriteFile(at("last"), nil, 0o644))
	w.until("CREATE last")
	for _, s := range w.seen {
		if strings.Contains(s, "unseen") {
			t.Errorf("%s: told of what lies elsewhere", s)
		}
	}
}

func TestWatchAnswers(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	fill(tr)
	for _, tc := range []struct {
		user, path string
		code       connect.Code
	}{
		{"", "/nope", connect.CodeNotFound},
		{"", "file", connect.CodeInvalidArgument},
		{"", "/home/other", connect.CodePermissionDenied},
		{"ghost", "/", connect.CodeUnauthenticated},
	} {
		_, err := tr.rpc.CreateWatcher(t.Context(), by(tc.user, &agentpb.CreateWatcherRequest{Path: tc.path}))
		if code(err) != tc.code {
			t.Errorf("CreateWatcher(%q) by %q = %v, want code %v", tc.path, tc.user, err, tc.code)
		}
		stream, err := tr.rpc.WatchDir(t.Context(), by(tc.user, &agentpb.WatchDirRequest{Path: tc.path}))
		tr.must(err)
		if stream.Receive() || code(stream.Err()) != tc.code {
			t.Errorf("WatchDir(%q) by %q = %v, want code %v", tc.path, tc.user, stream.Err(), tc.code)
		}
		_ = stream.Close()
	}
	if _, err := tr.rpc.GetWatcherEvents(t.Context(), by("", &agentpb.GetWatcherEventsRequest{WatcherId: "x"})); code(err) != connect.CodeNotFound {
		t.Errorf("GetWatcherEvents = %v, want not_found", err)
	}
	if _, err := tr.rpc.RemoveWatcher(t.Context(), by("", &agentpb.RemoveWatcherRequest{WatcherId: "x"})); code(err) != connect.CodeNotFound {
		t.Errorf("RemoveWatcher = %v, want not_found", err)
	}
}

// poll asks a watcher until it tells the label or fails.
func (tr *tree) poll(ctx context.Context, id, want string) error {
	for {
		resp, err := tr.rpc.GetWatcherEvents(ctx, by("", &agentpb.GetWatcherEventsRequest{WatcherId: id}))
		if err != nil {
			return err
		}
		for _, e := range resp.Msg.GetEvents() {
			if label(e) == want {
				return nil
			}
		}
	}
}

func TestWatcher(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	tr.mkdir("home/user/w", userID, 0o755)
	resp, err := tr.rpc.CreateWatcher(t.Context(), by("", &agentpb.CreateWatcherRequest{Path: "w", Recursive: true}))
	tr.must(err)
	id := resp.Msg.GetWatcherId()
	soon(t, func(ctx context.Context) {
		tr.must(os.MkdirAll(tr.host("home/user/w/a/b"), 0o755))
		tr.must(tr.poll(ctx, id, "CREATE a/b"))
		tr.must(os.WriteFile(tr.host("home/user/w/a/b/f"), []byte("x"), 0o644))
		tr.must(tr.poll(ctx, id, "WRITE a/b/f"))
		_, err := tr.rpc.RemoveWatcher(ctx, by("", &agentpb.RemoveWatcherRequest{WatcherId: id}))
		tr.must(err)
		if err := tr.poll(ctx, id, ""); code(err) != connect.CodeNotFound {
			t.Errorf("GetWatcherEvents of a removed watcher = %v, want not_found", err)
		}
	})
}

// TestWatcherLoses makes more events than are kept: the loss is told once, and what comes later is told again.
func TestWatcherLoses(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	tr.tmpfs("home/user/w")
	resp, err := tr.rpc.CreateWatcher(t.Context(), by("", &agentpb.CreateWatcherRequest{Path: "w"}))
	tr.must(err)
	id := resp.Msg.GetWatcherId()
	for i := range 20_000 {
		tr.must(unix.Mknod(tr.host(fmt.Sprintf("home/user/w/f%d", i)), unix.S_IFREG|0o644, 0))
	}
	soon(t, func(ctx context.Context) {
		if err := tr.poll(ctx, id, "none"); code(err) != connect.CodeResourceExhausted {
			t.Fatalf("GetWatcherEvents = %v, want resource_exhausted", err)
		}
		for i := 0; ; i++ { // the kernel's queue can still be on its way out
			name := fmt.Sprintf("late%d", i)
			tr.must(os.WriteFile(tr.host("home/user/w/"+name), nil, 0o644))
			err := tr.poll(ctx, id, "CREATE "+name)
			if err == nil {
				return
			}
			if code(err) != connect.CodeResourceExhausted {
				t.Fatalf("GetWatcherEvents = %v", err)
			}
		}
	})
}

func TestWatchBounds(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	var ids []string
	for {
		resp, err := tr.rpc.CreateWatcher(t.Context(), by("", &agentpb.CreateWatcherRequest{Path: "."}))
		if err != nil {
			if code(err) != connect.CodeResourceExhausted {
				t.Errorf("CreateWatcher = %v, want resource_exhausted", err)
			}
			break
		}
		if ids = append(ids, resp.Msg.GetWatcherId()); len(ids) > 1000 {
			t.Fatal("there is no bound on watchers")
		}
	}
	_, err := tr.rpc.RemoveWatcher(t.Context(), by("", &agentpb.RemoveWatcherRequest{WatcherId: ids[0]}))
	tr.must(err)
	if _, err := tr.rpc.CreateWatcher(t.Context(), by("", &agentpb.CreateWatcherRequest{Path: "."})); err != nil {
		t.Errorf("CreateWatcher after one was removed = %v", err)
	}
	tr.tmpfs("tmp/many")
	for i := range 8300 {
		tr.must(unix.Mkdir(tr.host(fmt.Sprintf("tmp/many/%d", i)), 0o755))
	}
	_, err = tr.rpc.RemoveWatcher(t.Context(), by("", &agentpb.RemoveWatcherRequest{WatcherId: ids[1]}))
	tr.must(err)
	_, err = tr.rpc.CreateWatcher(t.Context(), by("", &agentpb.CreateWatcherRequest{Path: "/tmp/many", Recursive: true}))
	if code(err) != connect.CodeResourceExhausted {
		t.Errorf("CreateWatcher of 8300 directories = %v, want resource_exhausted", err)
	}
}

func TestKeepalive(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	req := by("", &agentpb.WatchDirRequest{Path: "."})
	req.Header().Set("Keepalive-Ping-Interval", "1")
	stream, err := tr.rpc.WatchDir(t.Context(), req)
	tr.must(err)
	defer stream.Close()
	for range 3 {
		if !stream.Receive() {
			t.Fatal(stream.Err())
		}
	}
	if stream.Msg().GetKeepalive() == nil {
		t.Errorf("third message = %v, want a keepalive", stream.Msg())
	}
}

// TestClose ends watchers of both kinds, and refuses what comes later.
func TestClose(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	_, err := tr.rpc.CreateWatcher(t.Context(), by("", &agentpb.CreateWatcherRequest{Path: "."}))
	tr.must(err)
	w := tr.watchDir(t, &agentpb.WatchDirRequest{Path: "."})
	soon(t, func(context.Context) { tr.must(tr.svc.Close()) })
	if w.stream.Receive() || code(w.stream.Err()) != connect.CodeUnavailable {
		t.Errorf("the stream ended with %v, want unavailable", w.stream.Err())
	}
	if _, err := statOf("/")(t.Context(), tr, ""); err == nil {
		t.Error("Stat after Close succeeded")
	}
	if _, err := tr.rpc.CreateWatcher(t.Context(), by("", &agentpb.CreateWatcherRequest{Path: "."})); code(err) != connect.CodeUnavailable {
		t.Errorf("CreateWatcher after Close = %v, want unavailable", err)
	}
	if err := tr.svc.Close(); err != nil {
		t.Errorf("second Close = %v", err)
	}
}

func TestWatchTimeout(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	stream, err := tr.rpc.WatchDir(ctx, by("", &agentpb.WatchDirRequest{Path: "."}))
	tr.must(err)
	defer stream.Close()
	for stream.Receive() {
	}
	if code(stream.Err()) != connect.CodeDeadlineExceeded && !errors.Is(stream.Err(), context.DeadlineExceeded) {
		t.Errorf("the stream ended with %v, want deadline_exceeded", stream.Err())
	}
}
