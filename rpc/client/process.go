package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/cenkalti/backoff/v5"

	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

const (
	// reattachTime is for how long a lost connection is tried again.
	reattachTime = time.Minute
	// reattachTry bounds one attempt: a daemon that starts takes connections before it answers.
	reattachTry = 15 * time.Second
	// reattachPause is the longest pause between two attempts.
	reattachPause = 2 * time.Second
)

// ErrLost means that there is no connection to the process now: what was to be sent is gone.
var ErrLost = errors.New("the connection to the process is lost")

// ProcessOptions say what becomes of a [Process] whose connection is lost. The zero value gives up.
type ProcessOptions struct {
	// Reattach makes Receive attach again where the output broke off.
	Reattach bool
	// Lost is called when a connection is lost and is to be made again, and Back when that was done; Missed says how many
	// bytes of output are no longer kept. They are called from within Receive and may be nil.
	Lost   func(cause error)
	Back   func()
	Missed func(bytes int64)
}

// Process is the client's side of a process in a sandbox: its output, each byte once and in order, over as many
// connections as that takes. Receive is for one goroutine, the other methods are for any. Close ends the connection.
type Process struct {
	client *Client
	id     string // of the sandbox
	pid    uint32
	o      ProcessOptions
	ctx    context.Context // of all connections
	stop   context.CancelFunc
	offset int64 // of the next byte of output; Receive's alone

	mu     sync.Mutex
	stream *execStream // nil while there is none
}

type duplexStream = connect.BidiStreamForClientSimple[pb.StreamExecRequest, pb.StreamExecResponse]

// execStream is one connection.
type execStream struct {
	*duplexStream
	stop context.CancelFunc

	mu sync.Mutex // one Send at a time
}

// Start starts a process and returns once it runs. When ctx ends the connection does.
func (c *Client) Start(ctx context.Context, start *pb.StartProcess, o ProcessOptions) (*Process, error) {
	return c.begin(ctx, start.GetId(), 0, &pb.StreamExecRequest{Message: &pb.StreamExecRequest_Start{Start: start}}, o)
}

// Attach attaches to a process that runs, or has ended a while ago; offset is where in its output to begin.
func (c *Client) Attach(ctx context.Context, attach *pb.AttachProcess, o ProcessOptions) (*Process, error) {
	return c.begin(ctx, attach.GetId(), attach.GetOffset(), attachRequest(attach), o)
}

func attachRequest(m *pb.AttachProcess) *pb.StreamExecRequest {
	return &pb.StreamExecRequest{Message: &pb.StreamExecRequest_Attach{Attach: m}}
}

func (c *Client) begin(ctx context.Context, id string, offset int64, first *pb.StreamExecRequest, o ProcessOptions) (*Process, error) {
	ctx, stop := context.WithCancel(ctx)
	p := &Process{client: c, id: id, o: o, ctx: ctx, stop: stop, offset: offset}
	s, pid, err := p.handshake(ctx, first)
	if err != nil {
		stop()
		return nil, err
	}
	p.pid = pid
	p.stream = &execStream{duplexStream: s, stop: func() {}}
	return p, nil
}

// PID is the process's, as processes of its sandbox see it.
func (p *Process) PID() uint32 { return p.pid }

// Close drops the connection. What becomes of the process was said when it was started.
func (p *Process) Close() { p.stop() }

// handshake makes a connection with its first message, and waits until the daemon answers that the process runs.
func (p *Process) handshake(ctx context.Context, first *pb.StreamExecRequest) (_ *duplexStream, pid uint32, _ error) {
	s, err := p.client.Sandboxes.StreamExec(ctx)
	if err != nil {
		return nil, 0, err
	}
	// Receive waits on until net/http has read the request's body to its end, even when the context has ended.
	context.AfterFunc(ctx, func() { _ = s.CloseRequest() })          // it is a pipe's end
	if err := s.Send(first); err != nil && !errors.Is(err, io.EOF) { // after EOF, Receive says why
		return nil, 0, err
	}
	m, err := s.Receive()
	if err != nil {
		return nil, 0, err
	}
	if pid = m.GetStarted().GetPid(); pid == 0 {
		return nil, 0, errors.New("start a process: the daemon does not say that it runs")
	}
	return s, pid, nil
}

// current returns the connection, nil when there is none.
func (p *Process) current() *execStream {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stream
}

// drop forgets a connection.
func (p *Process) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stream != nil {
		p.stream.stop()
		p.stream = nil
	}
}

// Send sends input, a size, a signal or that the client detaches. Without a connection it returns [ErrLost].
func (p *Process) Send(m *pb.StreamExecRequest) error {
	s := p.current()
	if s == nil {
		return ErrLost
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Send(m); err != nil {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return nil
}

// Receive returns the next piece of output, or the process's end, after which nothing comes.
func (p *Process) Receive() (*pb.StreamExecResponse, error) {
	for {
		s := p.current()
		if s == nil {
			return nil, ErrLost
		}
		m, err := s.Receive()
		if err != nil {
			p.drop()
			if err := p.again(err); err != nil {
				return nil, err
			}
			continue
		}
		if m = p.advance(m); m != nil {
			return m, nil
		}
	}
}

// advance keeps count of the output. It returns nil for what is nothing new.
func (p *Process) advance(m *pb.StreamExecResponse) *pb.StreamExecResponse {
	if m.GetExited() != nil {
		return m
	}
	var data *[]byte
	switch e := m.GetEvent().(type) {
	case *pb.StreamExecResponse_Stdout:
		data = &e.Stdout
	case *pb.StreamExecResponse_Stderr:
		data = &e.Stderr
	case *pb.StreamExecResponse_Terminal:
		data = &e.Terminal
	default:
		return nil
	}
	if gap := m.GetOffset() - p.offset; gap > 0 && p.o.Missed != nil {
		p.o.Missed(gap)
	}
	seen := min(max(p.offset-m.GetOffset(), 0), int64(len(*data)))
	p.offset = max(p.offset, m.GetOffset()+int64(len(*data)))
	*data = (*data)[seen:]
	if len(*data) == 0 {
		return nil
	}
	return m
}

// again makes a lost connection again.
func (p *Process) again(cause error) error {
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	if !p.o.Reattach || final(cause) {
		if errors.Is(cause, io.EOF) {
			return errors.New("the daemon ended the stream before the process ended")
		}
		return cause
	}
	if p.o.Lost != nil {
		p.o.Lost(cause)
	}
	pause := backoff.NewExponentialBackOff()
	pause.MaxInterval = reattachPause
	_, err := backoff.Retry(p.ctx, func() (struct{}, error) {
		err := p.attach()
		if err != nil && final(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(reattachTime))
	if err != nil {
		return err
	}
	if p.o.Back != nil {
		p.o.Back()
	}
	return nil
}

// attach tries once to go on where the output broke off.
func (p *Process) attach() error {
	ctx, stop := context.WithCancel(p.ctx)
	late := time.AfterFunc(reattachTry, stop)
	s, _, err := p.handshake(ctx, attachRequest(&pb.AttachProcess{Id: p.id, Pid: p.pid, Offset: p.offset}))
	if err == nil && !late.Stop() {
		err = ErrLost // the connection is cancelled
	}
	if err != nil {
		stop()
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stream = &execStream{duplexStream: s, stop: stop}
	return nil
}

// final tells errors that another attempt would meet again from those of a connection.
func final(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodeInvalidArgument, connect.CodeNotFound, connect.CodeAlreadyExists, connect.CodePermissionDenied,
		connect.CodeUnauthenticated, connect.CodeFailedPrecondition, connect.CodeOutOfRange, connect.CodeUnimplemented:
		return true
	default:
		return false
	}
}
