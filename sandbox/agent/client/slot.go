package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
)

// usageRest is the least time between two reports of usage that are passed on: callers keep them, and an agent that was
// taken over could send any number.
const usageRest = 500 * time.Millisecond

// Slot is one slot of a sandbox. Its methods can be called from any goroutine.
type Slot struct {
	c  *Client
	id string
}

// Prepare makes a slot whose PID 1 joins the cgroups behind cgroupProcs, open for writing, as its last step. The
// descriptors stay the caller's. When ctx ends early the agent ends what it has begun.
func (c *Client) Prepare(ctx context.Context, spec SlotSpec, cgroupProcs []*os.File) (*Slot, error) {
	req, err := c.order(ctx, spec, cgroupProcs)
	if err != nil {
		return nil, err
	}
	resp, err := c.rpc.Prepare(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, fmt.Errorf("prepare slot: %w", err)
	}
	id := resp.Msg.GetSlot()
	if id == "" || len(id) > 64 {
		return nil, fmt.Errorf("prepare slot: the agent answered an id of %d bytes", len(id))
	}
	return &Slot{c: c, id: id}, nil
}

// order returns the request for a slot whose PID 1 joins the cgroups behind cgroupProcs, which it hands to the agent.
func (c *Client) order(ctx context.Context, spec SlotSpec, cgroupProcs []*os.File) (*agentpb.PrepareRequest, error) {
	req := &agentpb.PrepareRequest{
		Hostname: spec.Hostname, Uid: spec.UID, Gid: spec.GID, LauncherId: spec.LauncherID, Filter: spec.Filter, Hide: spec.Hide,
		DiskBytes: spec.Disk, Inodes: spec.Inodes,
	}
	if spec.CopyOf != nil {
		req.CopyOf = spec.CopyOf.id
	}
	if spec.OwnGroup {
		req.OwnGroup = &agentpb.OwnGroup{Processes: spec.Processes, MemoryBytes: spec.Memory}
	}
	if len(cgroupProcs) == 0 {
		return req, nil
	}
	token, err := c.sendFiles(ctx, cgroupProcs)
	if err != nil {
		return nil, fmt.Errorf("hand cgroups to the agent: %w", err)
	}
	req.Token = token
	return req, nil
}

// sendFiles leaves files with the agent and returns the token under which it keeps them for a while.
func (c *Client) sendFiles(ctx context.Context, files []*os.File) ([]byte, error) {
	conn, err := dialSocket(ctx, "unixpacket", c.fds)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	token := make([]byte, 16)
	_, _ = rand.Read(token) // never fails
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	if _, _, err := conn.(*net.UnixConn).WriteMsgUnix(token, unix.UnixRights(fds...), nil); err != nil {
		return nil, fmt.Errorf("send %d descriptors: %w", len(files), err)
	}
	var answer [1]byte
	if n, err := conn.Read(answer[:]); err != nil {
		return nil, fmt.Errorf("send %d descriptors: no answer: %w", len(files), errors.Join(err, context.Cause(ctx)))
	} else if n != 1 || answer[0] != 0 {
		return nil, fmt.Errorf("send %d descriptors: refused with %#x", len(files), answer[:n])
	}
	return token, nil
}

// WriteFiles writes files for the program's user; their directories are made. A path that exists, or that leads out
// of the work directory, is an error that names it. It must come before Run; at most [MaxFileBytes] at once.
func (s *Slot) WriteFiles(ctx context.Context, files []File) error {
	req := &agentpb.WriteFilesRequest{Slot: s.id}
	for _, f := range files {
		req.Files = append(req.Files, &agentpb.File{Path: f.Path, Content: f.Content, Mode: f.Mode})
	}
	if _, err := s.c.rpc.WriteFiles(ctx, connect.NewRequest(req)); err != nil {
		return fmt.Errorf("write %d files to slot: %w", len(files), err)
	}
	return nil
}

// CopyFrom copies the work directory of from, a slot of the same sandbox whose run has ended: regular files,
// directories and links, nothing else. It must come before Run. More than the bounds is an error.
func (s *Slot) CopyFrom(ctx context.Context, from *Slot, maxBytes, maxFiles int64) error {
	req := &agentpb.CopyTreeRequest{From: from.id, To: s.id, MaxBytes: maxBytes, MaxFiles: maxFiles}
	if _, err := s.c.rpc.CopyTree(ctx, connect.NewRequest(req)); err != nil {
		return fmt.Errorf("copy work directory between slots: %w", err)
	}
	return nil
}

// ReadFiles reads regular files of the work directory, maxBytes together, at most [MaxFileBytes]. What is missing, no
// regular file, behind a link that leads out, or too large for the rest of maxBytes is left out.
func (s *Slot) ReadFiles(ctx context.Context, paths []string, maxBytes int64) ([]File, error) {
	maxBytes = min(maxBytes, MaxFileBytes)
	req := &agentpb.ReadFilesRequest{Slot: s.id, Paths: paths, MaxBytes: maxBytes}
	resp, err := s.c.rpc.ReadFiles(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, fmt.Errorf("read %d files of slot: %w", len(paths), err)
	}
	asked := make(map[string]bool, len(paths))
	for _, p := range paths {
		asked[p] = true
	}
	var files []File
	for _, f := range resp.Msg.GetFiles() {
		maxBytes -= int64(len(f.GetContent()))
		if !asked[f.GetPath()] || maxBytes < 0 {
			return nil, errors.New("read files of slot: the agent answered more than was asked for")
		}
		delete(asked, f.GetPath())
		files = append(files, File{Path: f.GetPath(), Content: f.GetContent(), Mode: f.GetMode() & 0o777})
	}
	return files, nil
}

// Run runs cmd, the slot's one program, to its end and calls fn, when not nil, for what happens meanwhile, in order.
// All else that runs in the slot is killed when the program ends. When ctx ends Run returns its cause and the slot is
// killed; to end a program and still learn what it did call Kill.
func (s *Slot) Run(ctx context.Context, cmd Command, fn func(Event)) (Exit, error) {
	req, err := runRequest(s.id, cmd)
	if err != nil {
		return Exit{}, err
	}
	stream, err := s.c.rpc.Run(ctx, connect.NewRequest(req))
	if err != nil {
		return Exit{}, runError(ctx, err)
	}
	defer stream.Close()
	left := cmd.OutputBytes
	var told time.Time // when fn last had usage
	for stream.Receive() {
		if end := stream.Msg().GetEnd(); end != nil {
			return exitFrom(end), nil
		}
		ev, n := eventFrom(stream.Msg())
		if left -= n; left < 0 {
			return Exit{}, fmt.Errorf("run in slot: the agent delivered more than %d bytes of output", cmd.OutputBytes)
		}
		if ev.Usage != nil {
			if time.Since(told) < usageRest {
				continue
			}
			told = time.Now()
		}
		if fn != nil && (ev.Started || n > 0 || ev.Usage != nil) {
			fn(ev)
		}
	}
	if err := stream.Err(); err != nil {
		return Exit{}, runError(ctx, err)
	}
	return Exit{}, errors.New("run in slot: the agent's answer has no end")
}

// Kill kills all that runs in the slot; a Run in progress returns its Exit as for any other end.
func (s *Slot) Kill(ctx context.Context) error {
	if _, err := s.c.rpc.Kill(ctx, connect.NewRequest(&agentpb.KillRequest{Slot: s.id})); err != nil {
		return fmt.Errorf("kill slot: %w", err)
	}
	return nil
}

// Close kills all that runs in the slot, waits until it is dead and frees what the agent holds for it. Closing twice
// is safe.
func (s *Slot) Close(ctx context.Context) error {
	_, err := s.c.rpc.Close(ctx, connect.NewRequest(&agentpb.CloseRequest{Slot: s.id}))
	if err != nil && connect.CodeOf(err) != connect.CodeNotFound {
		return fmt.Errorf("close slot: %w", err)
	}
	return nil
}

func runRequest(slot string, cmd Command) (*agentpb.RunRequest, error) {
	if len(cmd.Args) == 0 {
		return nil, errors.New("run in slot: no command")
	}
	env := make(map[string]string, len(cmd.Env))
	for _, kv := range cmd.Env {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("run in slot: environment entry %q is not KEY=value", kv)
		}
		env[k] = v
	}
	req := &agentpb.RunRequest{
		Slot:            slot,
		Process:         &agentpb.ProcessConfig{Cmd: cmd.Args[0], Args: cmd.Args[1:], Envs: env, Cwd: &cmd.Dir},
		Stdin:           cmd.Stdin,
		DiskBytes:       cmd.DiskBytes,
		Inodes:          cmd.Inodes,
		OutputBytes:     cmd.OutputBytes,
		PollMemoryBytes: cmd.PollMemory,
		PollCpuNanos:    int64(cmd.PollCPU),
	}
	for _, r := range cmd.Rlimits {
		req.Rlimits = append(req.Rlimits, &agentpb.Rlimit{Resource: uint32(r.Resource), Soft: r.Soft, Hard: r.Hard})
	}
	return req, nil
}

// eventFrom returns the event and the bytes of output in it.
func eventFrom(m *response) (Event, int64) {
	if u := m.GetUsage(); u != nil {
		return Event{Usage: usageFrom(u)}, 0
	}
	if m.GetProcess().GetStart() != nil {
		return Event{Started: true}, 0
	}
	data := m.GetProcess().GetData()
	ev := Event{Stdout: data.GetStdout(), Stderr: data.GetStderr()}
	return ev, int64(len(ev.Stdout) + len(ev.Stderr))
}

// runError prefers the reason the caller gave to what the connection says about it.
func runError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	return fmt.Errorf("run in slot: %w", err)
}
