package fsys

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
)

// rpcs is the Connect face of a [Service].
type rpcs struct{ *Service }

// as does f for the user whom h names, with path resolved for that user.
func (s rpcs) as(ctx context.Context, h http.Header, path string, f func(a *actor, path string) error) error {
	a, err := s.actor(userOf(h))
	if err != nil {
		return rpcError(err)
	}
	p, err := resolvePath(path, a.who.Home)
	if err != nil {
		return rpcError(err)
	}
	return rpcError(s.run(ctx, a, func() error { return f(a, p) }))
}

// Stat describes one file.
func (s rpcs) Stat(ctx context.Context, req *connect.Request[agentpb.StatRequest]) (*connect.Response[agentpb.StatResponse], error) {
	m := &agentpb.StatResponse{}
	err := s.as(ctx, req.Header(), req.Msg.GetPath(), func(a *actor, p string) (err error) {
		m.Entry, err = a.stat(p)
		return err
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(m), nil
}

// MakeDir makes a directory and what leads to it.
func (s rpcs) MakeDir(ctx context.Context, req *connect.Request[agentpb.MakeDirRequest]) (*connect.Response[agentpb.MakeDirResponse], error) {
	m := &agentpb.MakeDirResponse{}
	err := s.as(ctx, req.Header(), req.Msg.GetPath(), func(a *actor, p string) (err error) {
		m.Entry, err = a.mkdir(p)
		return err
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(m), nil
}

// Move renames a file.
func (s rpcs) Move(ctx context.Context, req *connect.Request[agentpb.MoveRequest]) (*connect.Response[agentpb.MoveResponse], error) {
	m := &agentpb.MoveResponse{}
	err := s.as(ctx, req.Header(), req.Msg.GetSource(), func(a *actor, from string) error {
		to, err := resolvePath(req.Msg.GetDestination(), a.who.Home)
		if err != nil {
			return err
		}
		m.Entry, err = a.move(from, to)
		return err
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(m), nil
}

// ListDir lists a directory.
func (s rpcs) ListDir(ctx context.Context, req *connect.Request[agentpb.ListDirRequest]) (*connect.Response[agentpb.ListDirResponse], error) {
	m := &agentpb.ListDirResponse{}
	err := s.as(ctx, req.Header(), req.Msg.GetPath(), func(a *actor, p string) (err error) {
		m.Entries, err = a.list(ctx, p, req.Msg.GetDepth())
		return err
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(m), nil
}

// Remove removes a file or a tree.
func (s rpcs) Remove(ctx context.Context, req *connect.Request[agentpb.RemoveRequest]) (*connect.Response[agentpb.RemoveResponse], error) {
	err := s.as(ctx, req.Header(), req.Msg.GetPath(), func(a *actor, p string) error { return a.remove(ctx, p) })
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&agentpb.RemoveResponse{}), nil
}
