package sandboxtest_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"connectrpc.com/connect"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/agent/client"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

// content reads a file of the sandbox's.
func (b *livingBox) content(user, path string, offset, limit int64) (string, error) {
	b.t.Helper()
	c, err := b.use().Agent().ReadFile(b.t.Context(), user, path, offset, limit)
	if err != nil {
		return "", err
	}
	defer c.Body.Close()
	text, err := io.ReadAll(c.Body)
	return string(text), err
}

// write writes a file of the sandbox's.
func (b *livingBox) write(user, path, text string) error {
	b.t.Helper()
	return b.use().Agent().WriteFile(b.t.Context(), user, path, nil, strings.NewReader(text))
}

// TestSandboxFiles handles files with the rights of who asks.
func TestSandboxFiles(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	b := open(t, p, sandbox.CreateSandbox{})
	for name, run := range map[string]func(*livingBox){
		"written and read":   writtenAndRead,
		"rights":             fileRights,
		"directories":        directories,
		"what is no file":    noFiles,
		"links":              fileLinks,
		"half an upload":     halfUpload,
		"watched":            watchedFiles,
		"changes while read": changesWhileRead,
	} {
		t.Run(name, func(t *testing.T) { run(b.with(t)) })
	}
}

func writtenAndRead(b *livingBox) {
	agent := b.use().Agent()
	name := "dir/new/\u00fc '\"%25 #?\nx"
	if err := agent.WriteFile(b.t.Context(), "", name, map[string]string{"kind": "a test"}, strings.NewReader("0123456789")); err != nil {
		b.t.Fatal(err)
	}
	info, err := agent.Stat(b.t.Context(), "", name)
	if err != nil || info.Size != 10 || info.Kind != client.KindFile || info.Owner != "user" || info.Path != "/home/user/"+name || info.Metadata["kind"] != "a test" {
		b.t.Errorf("Stat = %+v, %v", info, err)
	}
	for _, tt := range []struct {
		offset, limit int64
		want          string
	}{{0, 0, "0123456789"}, {3, 0, "3456789"}, {3, 4, "3456"}, {0, 1, "0"}, {9, 10, "9"}, {10, 0, ""}, {1000, 5, ""}} {
		if got, err := b.content("", name, tt.offset, tt.limit); err != nil || got != tt.want {
			b.t.Errorf("read from %d, at most %d = %q, %v, want %q", tt.offset, tt.limit, got, err, tt.want)
		}
	}
	if err := errors.Join(b.write("", "again", "long content"), b.write("", "again", "short")); err != nil {
		b.t.Error(err)
	}
	if got, err := b.content("", "again", 0, 0); err != nil || got != "short" {
		b.t.Errorf("written twice: %q, %v", got, err)
	}
	b.prints("", `printf 'x' > "$(printf 'bin\377ary')"`)
	if err := b.write("", "empty", ""); err != nil {
		b.t.Error(err)
	}
	if got, err := b.content("", "empty", 0, 0); err != nil || got != "" {
		b.t.Errorf("an empty file: %q, %v", got, err)
	}
	if list, err := agent.ListDir(b.t.Context(), "", "/home/user", 1); err != nil || len(list) < 3 {
		b.t.Errorf("a directory with a name that is not UTF-8: %d entries, %v", len(list), err)
	}
}

func fileRights(b *livingBox) {
	agent := b.use().Agent()
	b.prints("root", "umask 077; echo secret > /var/secret; mkdir /var/closed; touch /var/closed/f")
	denied := func(what string, err error) {
		b.t.Helper()
		wantError(b.t, what, sandbox.AgentError("op", err), sandbox.KindDenied, "PERMISSION_DENIED", "")
	}
	_, err := b.content("user", "/var/secret", 0, 0)
	denied("reading root's file", err)
	denied("writing root's file", b.write("user", "/var/secret", "x"))
	denied("writing into root's directory", b.write("user", "/var/new", "x"))
	_, err = agent.ListDir(b.t.Context(), "user", "/var/closed", 1)
	denied("listing root's directory", err)
	_, err = agent.Stat(b.t.Context(), "user", "/var/closed/f")
	denied("looking into root's directory", err)
	_, err = agent.MakeDir(b.t.Context(), "user", "/var/made")
	denied("making a directory in root's", err)
	_, err = agent.Move(b.t.Context(), "user", "/var/secret", "/tmp/secret")
	denied("moving root's file", err)
	denied("removing root's file", agent.Remove(b.t.Context(), "user", "/var/secret"))
	if got, err := b.content("root", "/var/secret", 0, 0); err != nil || got != "secret\n" {
		b.t.Errorf("root reads its own file: %q, %v", got, err)
	}
	if err := b.write("root", "/home/user/roots", "x"); err != nil {
		b.t.Error(err)
	}
	if got := b.prints("root", "stat -c %U:%G /home/user/roots"); got != "root:root\n" {
		b.t.Errorf("what root wrote is %q", got)
	}
	_, err = agent.Stat(b.t.Context(), "nobody-here", "/")
	wantError(b.t, "an unknown user", sandbox.AgentError("op", err), sandbox.KindInvalid, "UNKNOWN_USER", "user")
}

func directories(b *livingBox) {
	agent, ctx := b.use().Agent(), b.t.Context()
	info, err := agent.MakeDir(ctx, "", "tree/a/b")
	if err != nil || info.Kind != client.KindDirectory || info.Path != "/home/user/tree/a/b" {
		b.t.Errorf("MakeDir = %+v, %v", info, err)
	}
	_, err = agent.MakeDir(ctx, "", "tree/a/b")
	wantError(b.t, "MakeDir of what is there", sandbox.AgentError("op", err), sandbox.KindConflict, "ALREADY_EXISTS", "")
	if err := errors.Join(b.write("", "tree/f", "1"), b.write("", "tree/a/g", "22")); err != nil {
		b.t.Fatal(err)
	}
	for depth, want := range map[uint32][]string{1: {"/home/user/tree/a", "/home/user/tree/f"},
		2: {"/home/user/tree/a", "/home/user/tree/a/b", "/home/user/tree/a/g", "/home/user/tree/f"}} {
		list, err := agent.ListDir(ctx, "", "tree", depth)
		var got []string
		for _, e := range list {
			got = append(got, e.Path)
		}
		if slices.Sort(got); err != nil || !slices.Equal(got, want) {
			b.t.Errorf("ListDir %d deep = %q, %v, want %q", depth, got, err, want)
		}
	}
	if info, err := agent.Move(ctx, "", "tree/a", "/tmp/moved"); err != nil || info.Path != "/tmp/moved" {
		b.t.Errorf("Move = %+v, %v", info, err)
	}
	if got := b.prints("", "cat /tmp/moved/g; ls tree"); got != "22f\n" {
		b.t.Errorf("after the move: %q", got)
	}
	for range 2 { // what is not there is not an error
		if err := agent.Remove(ctx, "", "/tmp/moved"); err != nil {
			b.t.Errorf("Remove = %v", err)
		}
	}
	_, err = agent.Stat(ctx, "", "/tmp/moved")
	wantError(b.t, "Stat of what is gone", sandbox.AgentError("op", err), sandbox.KindNotFound, "NOT_FOUND", "")
	_, err = agent.ListDir(ctx, "", "tree/f", 1)
	if sandbox.KindOf(sandbox.AgentError("op", err)) != sandbox.KindInvalid {
		b.t.Errorf("ListDir of a file = %v, want invalid", err)
	}
	_, err = agent.Move(ctx, "", "nothing", "something")
	wantError(b.t, "Move of nothing", sandbox.AgentError("op", err), sandbox.KindNotFound, "NOT_FOUND", "")
}

func noFiles(b *livingBox) {
	b.prints("", "mkfifo fifo; mkdir folder")
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	agent := b.use().Agent()
	for _, path := range []string{"fifo", "folder", "/dev/zero", "/dev/tty", ""} {
		c, err := agent.ReadFile(ctx, "", path, 0, 0)
		if err == nil {
			_ = c.Body.Close() // it should not be there
		}
		if k := sandbox.KindOf(sandbox.AgentError("op", err)); k != sandbox.KindInvalid && k != sandbox.KindDenied {
			b.t.Errorf("ReadFile(%q) = %v, want it refused at once", path, err)
		}
	}
	for _, path := range []string{"folder", "fifo"} {
		if err := b.write("", path, "x"); sandbox.KindOf(sandbox.AgentError("op", err)) != sandbox.KindInvalid {
			b.t.Errorf("WriteFile(%q) = %v, want it refused at once", path, err)
		}
	}
	_, err := b.content("", "absent", 0, 0)
	wantError(b.t, "reading nothing", sandbox.AgentError("op", err), sandbox.KindNotFound, "NOT_FOUND", "")
}

// fileLinks: links are followed inside the sandbox, with its own root and the rights of who asks.
func fileLinks(b *livingBox) {
	outside := filepath.Join(b.p.StateDir, "outside")
	if err := os.WriteFile(outside, []byte("the host's"), 0o644); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = os.Remove(outside) }) // the state directory is removed anyway
	agent := b.use().Agent()
	b.prints("", fmt.Sprintf("ln -s %s out; ln -s ../../../../../../..%s up; ln -s /var/secret2 secret; ln -s loop loop; ln -s /proc/1/root procroot; ln -s target.txt good; echo t > target.txt", outside, outside))
	b.prints("root", "umask 077; echo secret > /var/secret2")
	for path, reason := range map[string]string{"out": "NOT_FOUND", "up": "NOT_FOUND", "secret": "PERMISSION_DENIED", "procroot" + outside: "PERMISSION_DENIED"} {
		got, err := b.content("", path, 0, 0)
		e, _ := errors.AsType[*sandbox.Error](sandbox.AgentError("op", err))
		if got != "" || e == nil || e.Reason != reason {
			b.t.Errorf("reading %s = %q, %v, want %s", path, got, err, reason)
		}
	}
	if got, err := b.content("", "loop", 0, 0); err == nil {
		b.t.Errorf("reading a loop = %q", got)
	}
	if got, err := b.content("", "good", 0, 0); err != nil || got != "t\n" {
		b.t.Errorf("reading a good link = %q, %v", got, err)
	}
	if info, err := agent.Stat(b.t.Context(), "", "good"); err != nil || info.Target == "" {
		b.t.Errorf("Stat of a link = %+v, %v", info, err)
	}
	if text, err := os.ReadFile(outside); err != nil || string(text) != "the host's" {
		b.t.Errorf("the host's file holds %q, %v", text, err)
	}
}

// halfUpload breaks off an upload: nothing is left of it, and what was there stays.
func halfUpload(b *livingBox) {
	if err := b.write("", "kept", "before"); err != nil {
		b.t.Fatal(err)
	}
	broken := io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)), iotest.ErrReader(errors.New("the client went away")))
	if err := b.use().Agent().WriteFile(b.t.Context(), "", "kept", nil, broken); err == nil {
		b.t.Error("an upload that broke off was acknowledged")
	}
	if got, err := b.content("", "kept", 0, 0); err != nil || got != "before" {
		b.t.Errorf("after half an upload: %.20q, %v", got, err)
	}
	eventually(b.t, patience, "nothing is left of half an upload", func() bool {
		return b.sh("find / -xdev -size +900k -newer kept -type f -user user 2>/dev/null | grep .").stdout == ""
	})
}

// watchedFiles tells of changes, recursively too.
func watchedFiles(b *livingBox) {
	b.prints("", "mkdir -p watched/below")
	for _, recursive := range []bool{false, true} {
		ctx, cancel := context.WithTimeout(b.t.Context(), patience)
		seen := map[client.Change]string{}
		for change, err := range b.use().Agent().Watch(ctx, "", "watched", recursive) {
			if err != nil {
				b.t.Fatalf("recursive %v: %v; seen %v", recursive, err, seen)
			}
			if change.Change == client.ChangeStarted {
				b.prints("", "cd watched; echo > below/deep; echo x > a; chmod 600 a; mv a b; rm b; echo end > end; rm below/deep end")
			}
			seen[change.Change] += change.Name + " "
			if change.Change == client.ChangeRemove && change.Name == "end" {
				break
			}
		}
		cancel()
		for kind, name := range map[client.Change]string{client.ChangeCreate: "a ", client.ChangeWrite: "a ", client.ChangeChmod: "a ", client.ChangeRename: "a ", client.ChangeRemove: "b "} {
			if !strings.Contains(seen[kind], name) {
				b.t.Errorf("recursive %v: of change %d there was %q, want %q in it", recursive, kind, seen[kind], name)
			}
		}
		if deep := strings.Contains(seen[client.ChangeCreate], "below/deep"); deep != recursive {
			b.t.Errorf("recursive %v: changes below are told: %v", recursive, deep)
		}
	}
	for _, err := range b.use().Agent().Watch(b.t.Context(), "", "nothing here", false) {
		wantError(b.t, "watching nothing", sandbox.AgentError("op", err), sandbox.KindNotFound, "NOT_FOUND", "")
	}
}

// changesWhileRead truncates and replaces a file while it is read: an answer ends, and the agent lives.
func changesWhileRead(b *livingBox) {
	b.prints("", "head -c 50000000 /dev/zero > shrinks")
	c, err := b.use().Agent().ReadFile(b.t.Context(), "", "shrinks", 0, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	var first [1]byte
	if _, err := c.Body.Read(first[:]); err != nil {
		b.t.Error(err)
	}
	b.prints("", ": > shrinks; rm shrinks")
	if n, err := io.Copy(io.Discard, c.Body); err == nil && n == 50_000_000-1 {
		b.t.Error("a file that was truncated while it was read was read to its end: the test shows nothing")
	} else if err == nil {
		b.t.Errorf("a short answer of %d bytes was given as all there was", n)
	}
	if err := c.Body.Close(); err != nil {
		b.t.Error(err)
	}
	if got := b.prints("", "echo on"); got != "on\n" {
		b.t.Errorf("after that: %q", got)
	}
}

// TestLargeFile moves 200 MB in and out: neither the daemon's memory nor the agent's grows with it.
func TestLargeFile(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	b := open(t, p, sandbox.CreateSandbox{Limits: sandbox.SandboxLimits{Memory: 1 << 30}})
	agent := agentOf(t, p, b.ID)
	const size = 200_000_000
	var was, is runtime.MemStats
	runtime.ReadMemStats(&was)
	sum := sha256.New()
	pattern := &patterned{left: size}
	if err := b.use().Agent().WriteFile(t.Context(), "", "large", nil, io.TeeReader(pattern, sum)); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%x", sum.Sum(nil))
	if got := b.prints("", "sha256sum < large | cut -d' ' -f1"); got != want+"\n" {
		t.Errorf("inside it has the sum %q, want %q", got, want)
	}
	c, err := b.use().Agent().ReadFile(t.Context(), "", "large", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	sum.Reset()
	if n, err := io.Copy(sum, c.Body); err != nil || n != size || c.Size != size || fmt.Sprintf("%x", sum.Sum(nil)) != want {
		t.Errorf("read %d of %d bytes, %v, or others than were written", n, c.Size, err)
	}
	if err := c.Body.Close(); err != nil {
		t.Error(err)
	}
	runtime.ReadMemStats(&is)
	if grown := int64(is.Sys) - int64(was.Sys); grown > 30<<20 {
		t.Errorf("this process grew by %d bytes", grown)
	}
	for line := range strings.Lines(status(t, agent)) {
		if text, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			if kib, err := strconv.Atoi(strings.Fields(text)[0]); err != nil || kib > 80<<10 {
				t.Errorf("the agent held up to %d KiB, %v", kib, err)
			}
		}
	}
}

// agentOf returns the agent of a sandbox, or the kernel that it runs on, by its root or command line. There are others: the
// engine finds out versions meanwhile.
func agentOf(t *testing.T, p *sandboxtest.Parts, id sandbox.ID) int {
	t.Helper()
	for pid := range agents(t, programOf(p.Runtime(t))) {
		for _, file := range []string{"mountinfo", "cmdline"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			if err == nil && strings.Contains(string(text), string(id)) {
				return pid
			}
		}
	}
	t.Fatalf("sandbox %s has no agent", id)
	return 0
}

// patterned reads a text of some length that is not the same everywhere.
type patterned struct{ at, left int64 }

func (p *patterned) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(b)), p.left)
	for i := range b[:n] {
		p.at++
		b[i] = byte(p.at>>16 ^ p.at>>8 ^ p.at)
	}
	p.left -= n
	return int(n), nil
}

// TestHostileAgentIsBounded: what an agent claims of itself is passed on within bounds. The bounds of each answer are
// those of package client, whose tests have an agent that lies.
func TestHostileAgentIsBounded(t *testing.T) {
	long := strings.Repeat("\xff", 100_000)
	err := sandbox.AgentError("op", connect.NewError(connect.CodeNotFound, errors.New(long)))
	if e, ok := errors.AsType[*sandbox.Error](err); !ok || len(e.Msg) > 1500 || strings.Contains(e.Msg, "\xff") {
		t.Errorf("an agent's word of 100,000 bytes is passed on as %d", len(e.Msg))
	}
	for code := connect.Code(1); code <= 16; code++ {
		if k := sandbox.KindOf(sandbox.AgentError("op", connect.NewError(code, errors.New("x")))); k == sandbox.KindInternal || k == sandbox.KindUnsupported {
			t.Errorf("an agent's %v becomes the daemon's own fault: %v", code, k)
		}
	}
}
