package v1

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/soulbox/soulbox/rpc/codec"
)

// table is an interceptor that words every error by the error table, that of a message which could not be decoded too.
type table struct{ s *Services }

// WrapUnary implements [connect.Interceptor].
func (t *table) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if err := failure(req.Any()); err != nil {
			return nil, t.s.Error(ctx, err)
		}
		res, err := next(ctx, req)
		if err != nil {
			return nil, t.s.Error(ctx, err)
		}
		return res, nil
	}
}

// WrapStreamingClient implements [connect.Interceptor]; there are no clients here.
func (t *table) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements [connect.Interceptor].
func (t *table) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		if err := next(ctx, checkedConn{conn}); err != nil {
			return t.s.Error(ctx, err)
		}
		return nil
	}
}

// checkedConn is a stream whose Receive fails on a message that could not be decoded.
type checkedConn struct{ connect.StreamingHandlerConn }

// Receive implements [connect.StreamingHandlerConn].
func (c checkedConn) Receive(m any) error {
	if err := c.StreamingHandlerConn.Receive(m); err != nil {
		return err // io.EOF must stay what it is
	}
	return failure(m)
}

// failure returns why m could not be decoded, nil (and not a typed nil) when it was.
func failure(m any) error {
	if message, ok := m.(proto.Message); ok {
		if err := codec.Failure(message); err != nil {
			return err
		}
	}
	return nil
}
