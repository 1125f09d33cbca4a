package v1

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/sandbox"
)

// defaultPage is how many records a page has when the client does not say.
const defaultPage = 50

// ExecutionService implements soulbox.v1.ExecutionService.
type ExecutionService struct{ s *Services }

// ExecuteCode runs a program. With wait false it answers as soon as the execution is recorded.
func (e *ExecutionService) ExecuteCode(ctx context.Context, m *pb.ExecuteCodeRequest) (*pb.Execution, error) {
	h, err := e.start(ctx, m)
	if err != nil {
		return nil, err
	}
	if m.Wait != nil && !m.GetWait() {
		return execution(h.Snapshot()), nil
	}
	x, err := h.Wait(ctx)
	if err != nil {
		abandon(h, m)
		return nil, err
	}
	return execution(x), nil
}

// StreamExecution runs a program and sends what happens to it.
func (e *ExecutionService) StreamExecution(
	ctx context.Context, m *pb.StreamExecutionRequest, out *connect.ServerStream[pb.ExecutionEvent],
) error {
	return e.Stream(ctx, m, out.Send)
}

// Stream runs a program and calls send with every event, in order and never twice at once. Errors before the first call
// mean that nothing was started. Send may block: the engine does not wait for it.
func (e *ExecutionService) Stream(
	ctx context.Context, m *pb.StreamExecutionRequest, send func(*pb.ExecutionEvent) error,
) error {
	h, err := e.start(ctx, m)
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if !done {
			abandon(h, m)
		}
	}()
	for ev, err := range h.Events(ctx, 0) {
		if err != nil {
			return err
		}
		done = ev.Kind == sandbox.EventResult
		out := event(ev)
		if out == nil {
			continue
		}
		if err := send(out); err != nil {
			// The client is gone or too slow; it is not this daemon that failed.
			return connect.NewError(connect.CodeCanceled, fmt.Errorf("send event %d: %w", ev.Seq, err))
		}
	}
	if !done {
		return errors.New("follow execution " + string(h.ID()) + ": its events ended without a result")
	}
	return nil
}

// start converts and starts what m asks for.
func (e *ExecutionService) start(ctx context.Context, m runRequest) (sandbox.Handle, error) {
	c, err := e.s.caller(ctx)
	if err != nil {
		return nil, err
	}
	r, err := request(ctx, c, m)
	if err != nil {
		return nil, err
	}
	return e.s.o.Engine.Start(ctx, r)
}

// abandon cancels an execution that its client no longer waits for, unless the client can ask for it again.
func abandon(h sandbox.Handle, m runRequest) {
	if m.GetRequestId() == "" {
		h.Cancel()
	}
}

// GetExecution answers a record.
func (e *ExecutionService) GetExecution(ctx context.Context, m *pb.GetExecutionRequest) (*pb.Execution, error) {
	c, err := e.s.caller(ctx)
	if err != nil {
		return nil, err
	}
	x, err := e.s.o.Engine.Get(ctx, c.Tenant, sandbox.ID(m.GetId()))
	if err != nil {
		return nil, err
	}
	return execution(x), nil
}

// ListExecutions answers a page of records.
func (e *ExecutionService) ListExecutions(
	ctx context.Context, m *pb.ListExecutionsRequest,
) (*pb.ListExecutionsResponse, error) {
	c, err := e.s.caller(ctx)
	if err != nil {
		return nil, err
	}
	size := int(m.GetPageSize())
	if size == 0 {
		size = defaultPage
	}
	f := sandbox.Filter{State: sandbox.State(m.GetState()), Language: m.GetLanguage()}
	xs, next, err := e.s.o.Engine.List(ctx, c.Tenant, f, size, m.GetPageToken())
	if err != nil {
		return nil, err
	}
	out := &pb.ListExecutionsResponse{NextPageToken: next}
	for _, x := range xs {
		out.Executions = append(out.Executions, execution(x))
	}
	return out, nil
}

// CancelExecution ends an execution and answers its record as it then is.
func (e *ExecutionService) CancelExecution(ctx context.Context, m *pb.CancelExecutionRequest) (*pb.Execution, error) {
	c, err := e.s.caller(ctx)
	if err != nil {
		return nil, err
	}
	x, err := e.s.o.Engine.Cancel(ctx, c.Tenant, sandbox.ID(m.GetId()))
	if err != nil {
		return nil, err
	}
	return execution(x), nil
}
