package fsys

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
)

const (
	maxWatchers   = 32      // of both kinds; each is an inotify instance, of which a host has 128 for one user
	maxEvents     = 4096    // that wait for a client that asks now and then
	maxEventBytes = 4 << 20 // of them

	keepaliveHeader  = "Keepalive-Ping-Interval" // seconds
	defaultKeepalive = 90 * time.Second
)

// watching counts the watchers of a [Service] and holds those that clients ask.
type watching struct {
	mu      sync.Mutex
	count   int
	polling map[string]*poller
}

// watch begins to watch path for the user whom h names. What it returns takes a place, which done gives back.
func (s *Service) watch(ctx context.Context, h http.Header, path string, o watchOptions) (w *watcher, err error) {
	s.watching.mu.Lock()
	full := s.watching.count >= maxWatchers
	if !full {
		s.watching.count++
	}
	s.watching.mu.Unlock()
	if full {
		return nil, newFault(connect.CodeResourceExhausted, fmt.Sprintf("there are %d watchers, the most a sandbox can have", maxWatchers))
	}
	defer func() {
		if err != nil {
			s.unwatch(nil)
		}
	}()
	a, err := s.actor(userOf(h))
	if err != nil {
		return nil, err
	}
	p, err := resolvePath(path, a.who.Home)
	if err != nil {
		return nil, err
	}
	err = s.run(ctx, a, func() (err error) {
		w, err = newWatcher(ctx, a, p, o)
		return err
	})
	return w, err
}

// unwatch ends w and gives its place back.
func (s *Service) unwatch(w *watcher) {
	if w != nil {
		w.close()
	}
	s.watching.mu.Lock()
	defer s.watching.mu.Unlock()
	s.watching.count--
}

// follow calls tell with w's events until ctx is done, tell fails or w does, and idle whenever nothing was told for
// every. Once ctx is done it closes w.
func (s *Service) follow(ctx context.Context, w *watcher, every time.Duration, tell func([]*agentpb.FilesystemEvent, error) error, idle func() error) error {
	stop := context.AfterFunc(ctx, w.close)
	defer stop()
	deadline := time.Now().Add(every)
	for {
		raw, err := w.read(deadline)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err := idle(); err != nil {
				return err
			}
			deadline = time.Now().Add(every)
			continue
		case err != nil:
			return explain("watch", w.shown, err)
		}
		var events []*agentpb.FilesystemEvent
		err = s.run(ctx, w.actor, func() (err error) {
			events, err = w.digest(ctx, raw)
			return err
		})
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if len(events) == 0 && err == nil {
			continue
		}
		if err := tell(events, err); err != nil {
			return err
		}
		deadline = time.Now().Add(every)
	}
}

// WatchDir tells what happens in a directory.
func (s rpcs) WatchDir(ctx context.Context, req *connect.Request[agentpb.WatchDirRequest], stream *connect.ServerStream[agentpb.WatchDirResponse]) error {
	if err := s.begin(); err != nil {
		return rpcError(err)
	}
	defer s.tasks.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(s.ctx, func() { cancel(newFault(connect.CodeUnavailable, "the files are no longer served")) })
	defer stop()
	w, err := s.watch(ctx, req.Header(), req.Msg.GetPath(), watchOptions{
		recursive: req.Msg.GetRecursive(), entries: req.Msg.GetIncludeEntry(), network: req.Msg.GetAllowNetworkMounts(),
	})
	if err != nil {
		return rpcError(err)
	}
	defer s.unwatch(w)
	start := &agentpb.WatchDirResponse_Start{Start: &agentpb.WatchDirResponse_StartEvent{}}
	if err := stream.Send(&agentpb.WatchDirResponse{Event: start}); err != nil {
		return err
	}
	tell := func(events []*agentpb.FilesystemEvent, lost error) error {
		for _, e := range events {
			if err := stream.Send(&agentpb.WatchDirResponse{Event: &agentpb.WatchDirResponse_Filesystem{Filesystem: e}}); err != nil {
				return err
			}
		}
		return lost
	}
	idle := func() error {
		alive := &agentpb.WatchDirResponse_Keepalive{Keepalive: &agentpb.WatchDirResponse_KeepAlive{}}
		return stream.Send(&agentpb.WatchDirResponse{Event: alive})
	}
	return rpcError(s.follow(ctx, w, keepalive(req.Header()), tell, idle))
}

// keepalive is how long a stream is silent at most.
func keepalive(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get(keepaliveHeader))
	if err != nil || n < 1 || n > 24*60*60 {
		return defaultKeepalive
	}
	return time.Duration(n) * time.Second
}

// poller is a watcher whose client asks now and then.
type poller struct {
	cancel context.CancelFunc
	gone   chan struct{} // closed once its goroutine has ended

	mu     sync.Mutex
	events []*agentpb.FilesystemEvent
	bytes  int
	err    error // what the next question is answered with, once
	ended  bool  // err is the last word
}

// CreateWatcher begins to watch a directory.
func (s rpcs) CreateWatcher(ctx context.Context, req *connect.Request[agentpb.CreateWatcherRequest]) (*connect.Response[agentpb.CreateWatcherResponse], error) {
	if err := s.begin(); err != nil {
		return nil, rpcError(err)
	}
	w, err := s.watch(ctx, req.Header(), req.Msg.GetPath(), watchOptions{
		recursive: req.Msg.GetRecursive(), entries: req.Msg.GetIncludeEntry(), network: req.Msg.GetAllowNetworkMounts(),
	})
	if err != nil {
		s.tasks.Done()
		return nil, rpcError(err)
	}
	id := rand.Text()
	life, cancel := context.WithCancel(s.ctx)
	p := &poller{cancel: cancel, gone: make(chan struct{})}
	s.watching.mu.Lock()
	s.watching.polling[id] = p
	s.watching.mu.Unlock()
	go func() {
		defer s.tasks.Done()
		defer close(p.gone)
		defer s.unwatch(w)
		defer cancel()
		p.end(s.follow(life, w, defaultKeepalive, p.add, func() error { return nil }))
	}()
	return connect.NewResponse(&agentpb.CreateWatcherResponse{WatcherId: id}), nil
}

// add keeps events for the client. A loss is told once; the watcher goes on.
func (p *poller) add(events []*agentpb.FilesystemEvent, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil && !errors.Is(err, errLost) {
		return err
	}
	for _, e := range events {
		n := proto.Size(e)
		if len(p.events) >= maxEvents || p.bytes+n > maxEventBytes {
			err = &fault{connect.CodeResourceExhausted, errLost.Error(), errLost}
			break
		}
		p.events = append(p.events, e)
		p.bytes += n
	}
	if err != nil {
		p.events, p.bytes, p.err = nil, 0, err
	}
	return nil
}

func (p *poller) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err, p.ended = err, true
}

// take returns what happened since it was last called.
func (p *poller) take() ([]*agentpb.FilesystemEvent, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.err; err != nil && (!p.ended || len(p.events) == 0) {
		if !p.ended {
			p.err = nil // what was kept since comes next
		}
		return nil, err
	}
	events := p.events
	p.events, p.bytes = nil, 0
	return events, nil
}

func (s *Service) poller(id string) (*poller, error) {
	s.watching.mu.Lock()
	defer s.watching.mu.Unlock()
	p, ok := s.watching.polling[id]
	if !ok {
		return nil, newFault(connect.CodeNotFound, fmt.Sprintf("watcher with id %s not found", id))
	}
	return p, nil
}

// GetWatcherEvents returns what happened since it was last called.
func (s rpcs) GetWatcherEvents(_ context.Context, req *connect.Request[agentpb.GetWatcherEventsRequest]) (*connect.Response[agentpb.GetWatcherEventsResponse], error) {
	p, err := s.poller(req.Msg.GetWatcherId())
	if err != nil {
		return nil, rpcError(err)
	}
	events, err := p.take()
	if err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(&agentpb.GetWatcherEventsResponse{Events: events}), nil
}

// RemoveWatcher ends a watcher and returns when it is gone.
func (s rpcs) RemoveWatcher(ctx context.Context, req *connect.Request[agentpb.RemoveWatcherRequest]) (*connect.Response[agentpb.RemoveWatcherResponse], error) {
	p, err := s.poller(req.Msg.GetWatcherId())
	if err != nil {
		return nil, rpcError(err)
	}
	s.watching.mu.Lock()
	delete(s.watching.polling, req.Msg.GetWatcherId())
	s.watching.mu.Unlock()
	p.cancel()
	select {
	case <-p.gone:
		return connect.NewResponse(&agentpb.RemoveWatcherResponse{}), nil
	case <-ctx.Done():
		return nil, rpcError(context.Cause(ctx))
	}
}
