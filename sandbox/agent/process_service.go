package agent

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
)

const (
	// keepaliveHeader is how many seconds of silence a client bears on a stream.
	keepaliveHeader = "Keepalive-Ping-Interval"
	// keepalive is the silence where a client does not say.
	keepalive = 90 * time.Second
)

// processService serves envd's process.Process in a session.
type processService struct{ *Server }

// Start implements envd's RPC.
func (s *processService) Start(ctx context.Context, req *connect.Request[agentpb.StartRequest], out *connect.ServerStream[agentpb.StartResponse]) error {
	sess, err := s.openSession()
	if err != nil {
		return rpcError(err)
	}
	m := req.Msg
	p, err := sess.start(ctx, startSpec{config: m.GetProcess(), user: basicUser(req.Header().Get("Authorization")), pty: m.GetPty(),
		tag: m.GetTag(), stdin: m.Stdin == nil || m.GetStdin(), follow: true})
	if err != nil {
		return rpcError(err)
	}
	send := func(e *agentpb.ProcessEvent) error { return out.Send(&agentpb.StartResponse{Event: e}) }
	err = tell(ctx, p, 0, req.Header(), send)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) { // the caller's own bound on the process; gone is not that
		_ = sess.signal(p.pid, unix.SIGKILL, flagGroup) // it may have ended meanwhile
	}
	return rpcError(err)
}

// Connect implements envd's RPC.
func (s *processService) Connect(ctx context.Context, req *connect.Request[agentpb.ConnectRequest], out *connect.ServerStream[agentpb.ConnectResponse]) error {
	_, p, err := s.selected(req.Msg.GetProcess())
	if err != nil {
		return rpcError(err)
	}
	return rpcError(tell(ctx, p, -1, req.Header(), func(e *agentpb.ProcessEvent) error {
		return out.Send(&agentpb.ConnectResponse{Event: e})
	}))
}

// tell sends the events of p from offset on.
func tell(ctx context.Context, p *process, offset int64, h http.Header, send func(*agentpb.ProcessEvent) error) error {
	silence := keepalive
	if n, err := strconv.Atoi(h.Get(keepaliveHeader)); err == nil && n > 0 {
		silence = time.Duration(min(n, 3600)) * time.Second
	}
	f := p.output.follow(offset)
	err := send(&agentpb.ProcessEvent{Event: &agentpb.ProcessEvent_Start{Start: &agentpb.ProcessEvent_StartEvent{Pid: uint32(p.pid)}}})
	if err != nil {
		f.close()
		return err
	}
	err = p.follow(ctx, f, silence, func(out piece) error {
		return send(&agentpb.ProcessEvent{Event: &agentpb.ProcessEvent_Data{Data: out.event()}})
	}, func() error {
		return send(&agentpb.ProcessEvent{Event: &agentpb.ProcessEvent_Keepalive{Keepalive: &agentpb.ProcessEvent_KeepAlive{}}})
	})
	if err != nil {
		return err
	}
	return send(&agentpb.ProcessEvent{Event: &agentpb.ProcessEvent_End{End: p.endEvent()}})
}

// selected returns the process that a selector names, and its session.
func (s *Server) selected(sel *agentpb.ProcessSelector) (*session, *process, error) {
	sess, err := s.openSession()
	if err != nil {
		return nil, nil, err
	}
	var p *process
	switch by := sel.GetSelector().(type) {
	case *agentpb.ProcessSelector_Pid:
		p, err = sess.find(int32(min(by.Pid, 1<<31-1)))
	case *agentpb.ProcessSelector_Tag:
		p, err = sess.tagged(by.Tag)
	default:
		err = &startError{"no process is selected: give a pid or a tag"}
	}
	return sess, p, err
}

// List implements envd's RPC.
func (s *processService) List(context.Context, *connect.Request[agentpb.ListRequest]) (*connect.Response[agentpb.ListResponse], error) {
	sess, err := s.openSession()
	if err != nil {
		return nil, rpcError(err)
	}
	out := &agentpb.ListResponse{}
	for _, p := range sess.processes() {
		select {
		case <-p.ended:
			continue
		default:
		}
		info := &agentpb.ProcessInfo{Config: p.config, Pid: uint32(p.pid)}
		if p.tag != "" {
			info.Tag = &p.tag
		}
		out.Processes = append(out.Processes, info)
	}
	slices.SortFunc(out.Processes, func(a, b *agentpb.ProcessInfo) int { return int(a.GetPid()) - int(b.GetPid()) })
	return connect.NewResponse(out), nil
}

// Update implements envd's RPC.
func (s *processService) Update(_ context.Context, req *connect.Request[agentpb.UpdateRequest]) (*connect.Response[agentpb.UpdateResponse], error) {
	_, p, err := s.selected(req.Msg.GetProcess())
	if err == nil && req.Msg.GetPty() != nil {
		err = p.resize(req.Msg.GetPty().GetSize())
	}
	if err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(&agentpb.UpdateResponse{}), nil
}

// SendInput implements envd's RPC.
func (s *processService) SendInput(ctx context.Context, req *connect.Request[agentpb.SendInputRequest]) (*connect.Response[agentpb.SendInputResponse], error) {
	_, p, err := s.selected(req.Msg.GetProcess())
	if err == nil {
		err = p.take(ctx, req.Msg.GetInput())
	}
	if err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(&agentpb.SendInputResponse{}), nil
}

// take writes what a message holds.
func (p *process) take(ctx context.Context, in *agentpb.ProcessInput) error {
	switch data := in.GetInput().(type) {
	case *agentpb.ProcessInput_Stdin:
		return p.write(ctx, data.Stdin, false)
	case *agentpb.ProcessInput_Pty:
		return p.write(ctx, data.Pty, true)
	}
	return &startError{"the input is neither stdin nor pty"}
}

// StreamInput implements envd's RPC.
func (s *processService) StreamInput(ctx context.Context, in *connect.ClientStream[agentpb.StreamInputRequest]) (*connect.Response[agentpb.StreamInputResponse], error) {
	var p *process
	for in.Receive() {
		var err error
		switch m := in.Msg().GetEvent().(type) {
		case *agentpb.StreamInputRequest_Start:
			_, p, err = s.selected(m.Start.GetProcess())
		case *agentpb.StreamInputRequest_Data:
			if p == nil {
				err = &startError{"the first message must name the process"}
				break
			}
			err = p.take(ctx, m.Data.GetInput())
		}
		if err != nil {
			return nil, rpcError(err)
		}
	}
	if err := in.Err(); err != nil {
		return nil, err
	}
	return connect.NewResponse(&agentpb.StreamInputResponse{}), nil
}

// SendSignal implements envd's RPC.
func (s *processService) SendSignal(_ context.Context, req *connect.Request[agentpb.SendSignalRequest]) (*connect.Response[agentpb.SendSignalResponse], error) {
	sess, p, err := s.selected(req.Msg.GetProcess())
	signal := req.Msg.GetSignal()
	if err == nil && signal != agentpb.Signal_SIGNAL_SIGTERM && signal != agentpb.Signal_SIGNAL_SIGKILL {
		err = &startError{"signal must be SIGNAL_SIGTERM or SIGNAL_SIGKILL"}
	}
	if err == nil {
		err = sess.signal(p.pid, unix.Signal(signal), 0)
	}
	if err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(&agentpb.SendSignalResponse{}), nil
}

// CloseStdin implements envd's RPC.
func (s *processService) CloseStdin(_ context.Context, req *connect.Request[agentpb.CloseStdinRequest]) (*connect.Response[agentpb.CloseStdinResponse], error) {
	_, p, err := s.selected(req.Msg.GetProcess())
	if err == nil {
		err = p.closeInput()
	}
	if err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(&agentpb.CloseStdinResponse{}), nil
}
