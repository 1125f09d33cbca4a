package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"runtime/coverage"
	"slices"
	"syscall"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
	"github.com/soulbox/soulbox/sandbox/agent/fsys"
)

// service is the RPC face of a [Server].
type service struct{ *Server }

// Prepare makes a slot.
func (s *service) Prepare(ctx context.Context, req *connect.Request[agentpb.PrepareRequest]) (*connect.Response[agentpb.PrepareResponse], error) {
	m, cgroups, err := s.order(req.Msg)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	defer func() { closeAll(cgroups) }()
	if err := s.room(&m, req.Msg); err != nil {
		return nil, rpcError(err)
	}
	if err := s.reserve(); err != nil {
		return nil, connect.NewError(connect.CodeResourceExhausted, err)
	}
	sl, err := s.newSlot(ctx, m, req.Msg.GetOwnGroup(), &cgroups)
	s.settle(sl)
	if err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(&agentpb.PrepareResponse{Slot: sl.id}), nil
}

// newSlot makes a slot, with a cgroup of its own when that is asked for, which is added to those that it joins.
func (s *Server) newSlot(ctx context.Context, m prepareMessage, own *agentpb.OwnGroup, cgroups *[]*os.File) (*slot, error) {
	id := rand.Text()
	if own == nil {
		return newSlot(ctx, s.reaper, s.launcher, id, m, nil, *cgroups)
	}
	g, err := s.groups.make(id, own.GetProcesses())
	if err != nil {
		return nil, err
	}
	procs, err := g.procs()
	if err != nil {
		return nil, errors.Join(err, g.remove())
	}
	*cgroups = append(*cgroups, procs)
	m.cgroups = len(*cgroups)
	return newSlot(ctx, s.reaper, s.launcher, id, m, g, *cgroups)
}

// ownInodes are what a launcher makes in a slot's tmpfs.
const ownInodes = 4

// room says how large the slot's tmpfs is.
func (s *Server) room(m *prepareMessage, r *agentpb.PrepareRequest) error {
	if r.GetDiskBytes() <= 0 || r.GetInodes() <= 0 {
		return nil
	}
	m.size, m.inodes = uint64(roundUp(r.GetDiskBytes())), uint64(r.GetInodes()+ownInodes)
	if r.GetCopyOf() == "" {
		return nil
	}
	from, err := s.slot(r.GetCopyOf())
	if err != nil {
		return err
	}
	from.mu.Lock()
	defer from.mu.Unlock()
	held, err := from.space()
	if err != nil {
		return err
	}
	m.size += uint64(held.used)
	m.inodes += uint64(held.inodesUsed)
	return nil
}

// order returns what a launcher is told of a slot, and the descriptors of its cgroups, which are the caller's.
func (s *Server) order(r *agentpb.PrepareRequest) (m prepareMessage, cgroups []*os.File, err error) {
	if len(r.GetToken()) > 0 {
		if cgroups, err = s.fds.take(r.GetToken()); err != nil {
			return m, nil, err
		}
	}
	m = prepareMessage{
		uid: r.GetUid(), gid: r.GetGid(), launcherID: r.GetLauncherId(), filter: r.GetFilter(), hostname: r.GetHostname(), hides: r.GetHide(),
		cgroups: len(cgroups),
	}
	if err := m.validate(); err != nil {
		closeAll(cgroups)
		return m, nil, err
	}
	return m, cgroups, nil
}

// WriteFiles writes into a slot's work directory.
func (s *service) WriteFiles(_ context.Context, req *connect.Request[agentpb.WriteFilesRequest]) (*connect.Response[agentpb.WriteFilesResponse], error) {
	sl, err := s.slot(req.Msg.GetSlot())
	if err != nil {
		return nil, rpcError(err)
	}
	if n := len(req.Msg.GetFiles()); n > maxFiles {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("%d files are more than %d", n, maxFiles))
	}
	files := make([]file, 0, len(req.Msg.GetFiles()))
	for _, f := range req.Msg.GetFiles() {
		files = append(files, file{path: f.GetPath(), content: f.GetContent(), mode: fs.FileMode(f.GetMode() & 0o777)})
	}
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if err := sl.writeFilesLocked(files); err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(&agentpb.WriteFilesResponse{}), nil
}

// CopyTree copies one slot's work directory into another's.
func (s *service) CopyTree(_ context.Context, req *connect.Request[agentpb.CopyTreeRequest]) (*connect.Response[agentpb.CopyTreeResponse], error) {
	from, err := s.slot(req.Msg.GetFrom())
	if err != nil {
		return nil, rpcError(err)
	}
	to, err := s.slot(req.Msg.GetTo())
	if err != nil {
		return nil, rpcError(err)
	}
	if from == to {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("a slot cannot be copied into itself"))
	}
	// In one order, so that two copies cannot wait for each other.
	first, second := from, to
	if second.id < first.id {
		first, second = second, first
	}
	first.mu.Lock()
	defer first.mu.Unlock()
	second.mu.Lock()
	defer second.mu.Unlock()
	n, files, err := copyTree(from, to, req.Msg.GetMaxBytes(), req.Msg.GetMaxFiles())
	if err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(&agentpb.CopyTreeResponse{Bytes: n, Files: files}), nil
}

// Run runs a slot's program.
func (s *service) Run(ctx context.Context, req *connect.Request[agentpb.RunRequest], stream *connect.ServerStream[agentpb.RunResponse]) error {
	sl, err := s.slot(req.Msg.GetSlot())
	if err != nil {
		return rpcError(err)
	}
	spec, err := specFrom(req.Msg)
	if err != nil {
		return connect.NewError(connect.CodeInvalidArgument, err)
	}
	end, err := sl.run(ctx, spec, stream.Send)
	if err != nil {
		return rpcError(err)
	}
	return stream.Send(&agentpb.RunResponse{Event: &agentpb.RunResponse_End{End: end}})
}

// maxSize keeps sums of sizes far from overflow.
const maxSize = 1 << 50

func specFrom(m *agentpb.RunRequest) (runSpec, error) {
	p := m.GetProcess()
	spec := runSpec{
		argv: append([]string{p.GetCmd()}, p.GetArgs()...), dir: p.GetCwd(), stdin: m.GetStdin(),
		disk: m.GetDiskBytes(), inodes: m.GetInodes(), output: m.GetOutputBytes(),
		pollMemory: m.GetPollMemoryBytes(), pollCPU: time.Duration(m.GetPollCpuNanos()),
	}
	for _, k := range slices.Sorted(maps.Keys(p.GetEnvs())) {
		spec.env = append(spec.env, k+"="+p.GetEnvs()[k])
	}
	core := false
	for _, r := range m.GetRlimits() {
		spec.rlimits = append(spec.rlimits, rlimit{resource: r.GetResource(), soft: r.GetSoft(), hard: r.GetHard()})
		core = core || r.GetResource() == unix.RLIMIT_CORE
	}
	if !core {
		spec.rlimits = append(spec.rlimits, rlimit{resource: unix.RLIMIT_CORE})
	}
	for name, n := range map[string]int64{"disk_bytes": spec.disk, "inodes": spec.inodes, "output_bytes": spec.output} {
		if n <= 0 || n > maxSize {
			return runSpec{}, fmt.Errorf("%s must be from 1 to %d, not %d", name, int64(maxSize), n)
		}
	}
	if spec.pollMemory < 0 || spec.pollCPU < 0 {
		return runSpec{}, errors.New("limits to poll must not be negative")
	}
	return spec, runMessage{argv: spec.argv, env: spec.env, dir: spec.dir, rlimits: spec.rlimits}.validate()
}

// ReadFiles reads from a slot's work directory.
func (s *service) ReadFiles(_ context.Context, req *connect.Request[agentpb.ReadFilesRequest]) (*connect.Response[agentpb.ReadFilesResponse], error) {
	sl, err := s.slot(req.Msg.GetSlot())
	if err != nil {
		return nil, rpcError(err)
	}
	if n := len(req.Msg.GetPaths()); n > maxFiles {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("%d paths are more than %d", n, maxFiles))
	}
	sl.mu.Lock()
	defer sl.mu.Unlock()
	files, err := sl.readFilesLocked(req.Msg.GetPaths(), min(req.Msg.GetMaxBytes(), maxRead))
	if err != nil {
		return nil, rpcError(err)
	}
	resp := &agentpb.ReadFilesResponse{}
	for _, f := range files {
		resp.Files = append(resp.Files, &agentpb.File{Path: f.path, Content: f.content, Mode: uint32(f.mode)})
	}
	return connect.NewResponse(resp), nil
}

// Kill kills what runs in a slot and returns when it is dead, or ctx is done.
func (s *service) Kill(ctx context.Context, req *connect.Request[agentpb.KillRequest]) (*connect.Response[agentpb.KillResponse], error) {
	sl, err := s.slot(req.Msg.GetSlot())
	if err != nil {
		return nil, rpcError(err)
	}
	s.closing.Go(sl.kill)
	select {
	case <-sl.launcher.dead:
		return connect.NewResponse(&agentpb.KillResponse{}), nil
	case <-ctx.Done():
		return nil, rpcError(context.Cause(ctx))
	}
}

// Close ends a slot and returns when it is dead, or ctx is done.
func (s *service) Close(ctx context.Context, req *connect.Request[agentpb.CloseRequest]) (*connect.Response[agentpb.CloseResponse], error) {
	done, err := s.remove(req.Msg.GetSlot())
	if err != nil {
		return nil, rpcError(err)
	}
	select {
	case <-done:
		return connect.NewResponse(&agentpb.CloseResponse{}), nil
	case <-ctx.Done():
		return nil, rpcError(context.Cause(ctx))
	}
}

// Coverage returns the agent's own counters.
func (s *service) Coverage(context.Context, *connect.Request[agentpb.CoverageRequest]) (*connect.Response[agentpb.CoverageResponse], error) {
	var meta, counters bytes.Buffer
	if err := errors.Join(coverage.WriteMeta(&meta), coverage.WriteCounters(&counters)); err != nil {
		return nil, connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("the agent was not built with -cover -covermode=atomic: %w", err))
	}
	return connect.NewResponse(&agentpb.CoverageResponse{Meta: meta.Bytes(), Counters: counters.Bytes()}), nil
}

// rpcError gives err the code that tells the daemon what to do about it.
func rpcError(err error) error {
	code := connect.CodeInternal
	var errno syscall.Errno
	var path *fs.PathError
	var known *connect.Error
	var start *startError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known): // its code was given by who knew
		return err
	case errors.Is(err, errNoSlot), errors.Is(err, errNoProcess):
		code = connect.CodeNotFound
	case errors.Is(err, fsys.ErrUnknownUser):
		code = connect.CodeUnauthenticated
	case errors.As(err, &start):
		code = connect.CodeInvalidArgument
	case errors.Is(err, errSession):
		code = connect.CodeAlreadyExists
	case errors.Is(err, errTooMany), errors.Is(err, errStalled):
		code = connect.CodeResourceExhausted
	case errors.Is(err, errNoSession), errors.Is(err, errTerminal), errors.Is(err, errNoTerminal), errors.Is(err, errNoInput):
		code = connect.CodeFailedPrecondition
	case errors.Is(err, errState), errors.Is(err, errClosed):
		code = connect.CodeFailedPrecondition
	case errors.Is(err, errPath):
		code = connect.CodeInvalidArgument
	case errors.Is(err, fs.ErrExist):
		code = connect.CodeAlreadyExists
	case errors.Is(err, errCopyBounds), errors.Is(err, unix.ENOSPC):
		code = connect.CodeResourceExhausted
	case errors.Is(err, context.Canceled):
		code = connect.CodeCanceled
	case errors.Is(err, context.DeadlineExceeded):
		code = connect.CodeDeadlineExceeded
	case errors.As(err, &path) && !errors.As(err, &errno):
		code = connect.CodeInvalidArgument // os.Root refused the path: it leads out
	}
	return connect.NewError(code, err)
}
