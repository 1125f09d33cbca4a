package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
	"github.com/soulbox/soulbox/sandbox/agent/fsys"
)

// sessionService serves the daemon's side of a session.
type sessionService struct{ *Server }

var (
	errNoSession = errors.New("this sandbox has no session")
	errSession   = errors.New("this sandbox has its session already")
)

// openSession returns the session.
func (s *Server) openSession() (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == nil {
		return nil, errNoSession
	}
	return s.session, nil
}

// Open makes the session.
func (s *sessionService) Open(ctx context.Context, req *connect.Request[agentpb.OpenRequest]) (*connect.Response[agentpb.OpenResponse], error) {
	if _, err := s.openSession(); err == nil {
		return nil, rpcError(errSession)
	}
	m, cgroups, err := s.order(req.Msg.GetSlot())
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	defer func() { closeAll(cgroups) }()
	m.session, m.keep = true, req.Msg.GetKeepCapabilities()
	sl, err := s.newSlot(ctx, m, req.Msg.GetSlot().GetOwnGroup(), &cgroups)
	if err != nil {
		return nil, rpcError(err)
	}
	if err := s.adopt(sl, req.Msg); err != nil {
		return nil, rpcError(errors.Join(err, sl.close()))
	}
	return connect.NewResponse(&agentpb.OpenResponse{}), nil
}

// adopt makes sl the session.
func (s *sessionService) adopt(sl *slot, m *agentpb.OpenRequest) error {
	user := cmp.Or(m.GetDefaultUser(), "user")
	files, err := fsys.New(fsys.Options{Root: sl.workDir, DefaultUser: user, Log: s.log})
	if err != nil {
		return fmt.Errorf("serve the session's files: %w", err)
	}
	sess := &session{log: s.log, slot: sl, files: files, env: m.GetEnvs(), user: user, workdir: m.GetWorkdir(), live: map[int32]*process{}}
	for _, r := range m.GetRlimits() {
		sess.rlimits = append(sess.rlimits, rlimit{resource: r.GetResource(), soft: r.GetSoft(), hard: r.GetHard()})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session != nil {
		return errors.Join(errSession, files.Close())
	}
	s.session = sess
	if sl.group != nil {
		sess.memory = newGroupWatch(m.GetSlot().GetOwnGroup().GetMemoryBytes())
		sess.watching.Go(sess.watchMemory)
	}
	return nil
}

// Launch starts a process.
func (s *sessionService) Launch(ctx context.Context, req *connect.Request[agentpb.LaunchRequest]) (*connect.Response[agentpb.LaunchResponse], error) {
	sess, err := s.openSession()
	if err != nil {
		return nil, rpcError(err)
	}
	m := req.Msg
	p, err := sess.start(ctx, startSpec{config: m.GetProcess(), user: m.GetUser(), pty: m.GetPty(), stdin: m.GetStdin(), input: m.GetInput(), tag: m.GetTag(),
		follow: m.GetFollow()})
	if err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(&agentpb.LaunchResponse{Pid: uint32(p.pid)}), nil
}

// Follow tells what a process prints, and its end.
func (s *sessionService) Follow(ctx context.Context, req *connect.Request[agentpb.FollowRequest], out *connect.ServerStream[agentpb.FollowResponse]) error {
	sess, err := s.openSession()
	if err != nil {
		return rpcError(err)
	}
	p, err := sess.find(int32(min(req.Msg.GetPid(), 1<<31-1)))
	if err != nil {
		return rpcError(err)
	}
	f := p.output.follow(max(req.Msg.GetOffset(), 0))
	err = p.follow(ctx, f, keepalive, func(o piece) error {
		return out.Send(&agentpb.FollowResponse{Event: &agentpb.FollowResponse_Output{Output: &agentpb.Output{Offset: o.offset, Data: o.event()}}})
	}, func() error {
		return out.Send(&agentpb.FollowResponse{Event: &agentpb.FollowResponse_Idle_{Idle: &agentpb.FollowResponse_Idle{}}})
	})
	if err != nil {
		return rpcError(err)
	}
	return out.Send(&agentpb.FollowResponse{Event: &agentpb.FollowResponse_Ended{Ended: p.endedMessage()}})
}

// Signal sends a signal.
func (s *sessionService) Signal(_ context.Context, req *connect.Request[agentpb.SignalRequest]) (*connect.Response[agentpb.SignalResponse], error) {
	sess, err := s.openSession()
	if err != nil {
		return nil, rpcError(err)
	}
	m := req.Msg
	if m.GetSignal() < 1 || m.GetSignal() > 64 {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("signal %d is not from 1 to 64", m.GetSignal()))
	}
	flags := uint32(0)
	if m.GetGroup() {
		flags |= flagGroup
	}
	if m.GetEverybody() {
		flags = flagEverybody
	}
	if err := sess.signal(int32(min(m.GetPid(), 1<<31-1)), unix.Signal(m.GetSignal()), flags); err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(&agentpb.SignalResponse{}), nil
}

// Processes lists what the session has started.
func (s *sessionService) Processes(context.Context, *connect.Request[agentpb.ProcessesRequest]) (*connect.Response[agentpb.ProcessesResponse], error) {
	sess, err := s.openSession()
	if err != nil {
		return nil, rpcError(err)
	}
	out := &agentpb.ProcessesResponse{}
	for _, p := range sess.processes() {
		start, end := p.output.span()
		k := &agentpb.Known{Pid: uint32(p.pid), Process: p.config, User: p.user, Tag: p.tag, Pty: p.terminal,
			StartedAt: timestamppb.New(p.started), Printed: end, KeptFrom: start}
		select {
		case <-p.ended:
			k.Ended = p.endedMessage()
		default:
		}
		out.Processes = append(out.Processes, k)
	}
	return connect.NewResponse(out), nil
}

// Measure samples the session's processes.
func (s *sessionService) Measure(context.Context, *connect.Request[agentpb.MeasureRequest]) (*connect.Response[agentpb.MeasureResponse], error) {
	sess, err := s.openSession()
	if err != nil {
		return nil, rpcError(err)
	}
	now, err := sess.slot.sample(true)
	if err != nil {
		return nil, rpcError(err)
	}
	out := &agentpb.MeasureResponse{UserNanos: int64(now.user), SystemNanos: int64(now.system), MemoryBytes: now.memory, Processes: now.threads}
	if g := sess.slot.group; g != nil {
		out.PeakMemoryBytes, out.MemoryKills = sess.memory.counts()
		_, out.RefusedForks = g.processes()
	}
	return connect.NewResponse(out), nil
}

// envd serves what envd serves as plain HTTP, the files aside.
func (s *Server) envd(mux *http.ServeMux) {
	mux.HandleFunc("GET /wait", s.wait)
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /envs", func(w http.ResponseWriter, _ *http.Request) {
		sess, err := s.openSession()
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		writeJSON(w, sess.env)
	})
	mux.HandleFunc("GET /metrics", s.metrics)
	files := func(w http.ResponseWriter, r *http.Request) {
		sess, err := s.openSession()
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		sess.files.Handler().ServeHTTP(w, r)
	}
	mux.HandleFunc("/files", files)
	mux.HandleFunc("/files/", files)
	mux.HandleFunc("/filesystem.Filesystem/", files)
}

// wait answers when the session is over, and dies with the agent: the daemon's way to learn of both at once.
func (s *Server) wait(w http.ResponseWriter, r *http.Request) {
	sess, err := s.openSession()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusOK)
	if err := http.NewResponseController(w).Flush(); err != nil {
		return
	}
	select {
	case <-sess.slot.launcher.dead:
	case <-r.Context().Done():
	}
}

// writeJSON answers v.
func writeJSON(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b) // a client that is gone needs no answer
}
