package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"connectrpc.com/connect"

	"github.com/soulbox/soulbox/rpc/chunks"
	"github.com/soulbox/soulbox/rpc/client"
	"github.com/soulbox/soulbox/rpc/client/tree"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

const (
	// copyChunk is how much of a file one message carries, in bytes.
	copyChunk = 64 << 10
	// complaintSize bounds what is shown of what tar says in the sandbox, in bytes.
	complaintSize = 2 << 10
)

// stat describes what lies at a path in the sandbox, nil when nothing does.
func (k *copier) stat(ctx context.Context, p string) (*pb.FileInfo, error) {
	info, err := k.daemon.Sandboxes.StatFile(ctx, &pb.StatFileRequest{Id: k.id, Path: p, User: k.user})
	if connect.CodeOf(err) == connect.CodeNotFound {
		// A sandbox that is not there is not found either, and then the next request says so.
		return nil, nil
	}
	return info, err
}

// uploadFile writes a file in the sandbox, all of it or nothing.
func (k *copier) uploadFile(ctx context.Context, here, to string) error {
	f, err := os.Open(here)
	if err != nil {
		return err // names the attempt and the file
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("copy %s: %w", here, err)
	}
	bar := k.progress(filepath.Base(here), st.Size())
	defer bar.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop() // what was sent so far must not become a file
	out, err := k.daemon.Sandboxes.WriteFile(ctx)
	if err != nil {
		return err
	}
	err = out.Send(&pb.WriteFileRequest{Message: &pb.WriteFileRequest_Open{Open: &pb.OpenFile{Id: k.id, Path: to, User: k.user}}})
	buf := make([]byte, copyChunk)
	for err == nil {
		n, readErr := f.Read(buf)
		if readErr != nil && !errors.Is(readErr, io.EOF) {
			return fmt.Errorf("copy %s: %w", here, readErr)
		}
		if n == 0 {
			break
		}
		if err = out.Send(&pb.WriteFileRequest{Message: &pb.WriteFileRequest_Data{Data: buf[:n]}}); err == nil {
			_, err = bar.Write(buf[:n])
		}
	}
	if err != nil && !errors.Is(err, io.EOF) { // after EOF, the answer says what is wrong
		return fmt.Errorf("copy %s: %w", here, err)
	}
	info, err := out.CloseAndReceive()
	if err != nil {
		return err
	}
	if mode := st.Mode().Perm(); uint32(mode) != info.GetMode()&0o777 {
		return k.chmod(ctx, info.GetPath(), mode)
	}
	return nil
}

// chmod gives a file its mode.
func (k *copier) chmod(ctx context.Context, p string, mode fs.FileMode) error {
	x, err := k.daemon.Sandboxes.Exec(ctx, &pb.ExecRequest{Id: k.id, User: k.user, Args: []string{"chmod", fmt.Sprintf("%o", mode), "--", p}})
	if err == nil && x.GetExitCode() != 0 {
		err = errors.New(strings.TrimSpace(x.GetStderr()))
	}
	if err != nil {
		return fmt.Errorf("%s is copied, but its mode is not: %w", printable(p), err)
	}
	return nil
}

// downloadFile copies a file out of the sandbox.
func (k *copier) downloadFile(ctx context.Context, there *pb.FileInfo, to string) (err error) {
	root, err := os.OpenRoot(filepath.Dir(to))
	if err != nil {
		return fmt.Errorf("copy to %s: %w", to, err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	bar := k.progress(filepath.Base(to), there.GetSize())
	defer bar.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	in, err := k.daemon.Sandboxes.ReadFile(ctx, &pb.ReadFileRequest{Id: k.id, Path: there.GetPath(), User: k.user})
	if err != nil {
		return err
	}
	content := chunks.NewReader(func() ([]byte, error) {
		if !in.Receive() {
			return nil, cmp.Or(in.Err(), io.EOF)
		}
		return in.Msg().GetData(), nil
	})
	return tree.WriteFile(root, filepath.Base(to), fs.FileMode(there.GetMode()), io.TeeReader(content, bar), nil)
}

// uploadDir copies what is in a directory into one of the sandbox, which is made.
func (k *copier) uploadDir(ctx context.Context, here, to string) error {
	total, err := tree.Size(here)
	if err != nil {
		return fmt.Errorf("copy %s: %w", here, err)
	}
	dir, err := k.daemon.Sandboxes.MakeDir(ctx, &pb.MakeDirRequest{Id: k.id, Path: to, User: k.user})
	if err != nil && connect.CodeOf(err) != connect.CodeAlreadyExists {
		return err
	}
	if err != nil {
		if dir, err = k.stat(ctx, to); err != nil {
			return err
		}
	}
	bar := k.progress(filepath.Base(here), total)
	defer bar.Close()
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := tree.Pack(io.MultiWriter(w, bar), here, k.skip)
		_ = w.CloseWithError(err) // never fails
		packed <- err
	}()
	err = k.upload(ctx, r, dir.GetPath())
	_ = r.CloseWithError(errors.New("the sandbox takes no more")) // never fails
	// What tar says comes of what was read, and of what it was told when reading failed.
	if bad := <-packed; err == nil || bad != nil && !strings.Contains(bad.Error(), "takes no more") {
		return bad
	}
	return err
}

// upload unpacks a tar stream in a directory of the sandbox.
func (k *copier) upload(ctx context.Context, from io.Reader, dir string) error {
	t, err := k.tar(ctx, "exec tar -xpof - -C \"$1\"", dir)
	if err != nil {
		return err
	}
	defer t.process.Close()
	sent := make(chan error, 1)
	go func() { sent <- t.send(from) }()
	_, err = io.Copy(io.Discard, t) // it prints nothing but complaints
	t.process.Close()
	if bad := <-sent; err == nil && !errors.Is(bad, client.ErrLost) {
		err = bad
	}
	return err
}

// download writes what is at a path of the sandbox to standard output, as a tar stream.
func (k *copier) download(ctx context.Context, inside string) error {
	info, err := k.daemon.Sandboxes.StatFile(ctx, &pb.StatFileRequest{Id: k.id, Path: inside, User: k.user})
	if err != nil {
		return err
	}
	t, err := k.tarOut(ctx, info.GetPath(), contentsOnly(inside))
	if err != nil {
		return err
	}
	defer t.process.Close()
	if _, err := io.Copy(k.c.App.Writer, t); err != nil {
		return fmt.Errorf("copy %s: %w", printable(inside), err)
	}
	return nil
}

// downloadDir copies what is in a directory of the sandbox into one here, which is made.
func (k *copier) downloadDir(ctx context.Context, inside, to string) (err error) {
	if err := os.Mkdir(to, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err // names the attempt and the directory
	}
	root, err := os.OpenRoot(to)
	if err != nil {
		return fmt.Errorf("copy to %s: %w", to, err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	bar := k.progress(filepath.Base(to), -1)
	defer bar.Close()
	t, err := k.tarOut(ctx, inside, true)
	if err != nil {
		return err
	}
	defer t.process.Close()
	from := io.TeeReader(bufio.NewReaderSize(t, copyChunk), bar)
	if err := tree.Unpack(root, from, k.skip); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, from) // to tar's end, which says whether that was all
	return err
}

// tarOut starts tar on a path of the sandbox. It waits for a line of input before it prints, so that none of it is past
// before this side listens.
func (k *copier) tarOut(ctx context.Context, p string, contents bool) (*tarProcess, error) {
	script := `echo; read x; exec tar -cf - -C "$(dirname -- "$1")" -- "$(basename -- "$1")"`
	if contents {
		script = `echo; read x; exec tar -cf - -C "$1" .`
	}
	t, err := k.tar(ctx, script, p)
	if err != nil {
		return nil, err
	}
	var line [1]byte
	if _, err = io.ReadFull(t, line[:]); err == nil {
		err = t.send(strings.NewReader("\n"))
	}
	if err != nil {
		t.process.Close()
		return nil, err
	}
	return t, nil
}

// tarProcess is tar in the sandbox. Reading yields what it prints, until it has ended well.
type tarProcess struct {
	*chunks.Reader
	process  *client.Process
	complain bytes.Buffer
	missed   int64
}

func (k *copier) tar(ctx context.Context, script, p string) (_ *tarProcess, err error) {
	t := &tarProcess{}
	t.Reader = chunks.NewReader(t.next)
	start := &pb.StartProcess{Id: k.id, User: k.user, Stdin: true, Args: []string{"/bin/sh", "-c", script, "sh", p}, Tag: "soulbox cp"}
	t.process, err = k.daemon.Start(ctx, start, client.ProcessOptions{Missed: func(n int64) { t.missed += n }})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// send gives tar its input.
func (t *tarProcess) send(from io.Reader) error {
	buf := make([]byte, copyChunk)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if bad := t.process.Send(&pb.StreamExecRequest{Message: &pb.StreamExecRequest_Stdin{Stdin: buf[:n]}}); bad != nil {
				return bad
			}
		}
		if errors.Is(err, io.EOF) {
			return t.process.Send(&pb.StreamExecRequest{Message: &pb.StreamExecRequest_CloseStdin{CloseStdin: true}})
		}
		if err != nil {
			t.process.Close() // tar must not take what it has for all
			return fmt.Errorf("read what is to be copied: %w", err)
		}
	}
}

// next returns what tar prints next.
func (t *tarProcess) next() ([]byte, error) {
	m, err := t.process.Receive()
	if err != nil {
		return nil, err
	}
	if t.missed > 0 {
		return nil, errors.New("the sandbox printed faster than it was read; try again")
	}
	if x := m.GetExited(); x != nil {
		return nil, t.end(x)
	}
	if e := m.GetStderr(); len(e) > 0 {
		t.complain.Write(e[:min(len(e), complaintSize-min(t.complain.Len(), complaintSize))])
	}
	return m.GetStdout(), nil
}

func (t *tarProcess) end(x *pb.ProcessExited) error {
	switch status := exitedStatus(x); {
	case status == 127:
		return errors.New("there is no tar in the sandbox, which copies directories")
	case status != 0:
		var lines []string
		for line := range strings.Lines(t.complain.String()) {
			lines = append(lines, printable(strings.TrimSpace(line)))
		}
		return fmt.Errorf("tar in the sandbox failed: %s", strings.Join(lines, "; "))
	}
	return io.EOF
}
