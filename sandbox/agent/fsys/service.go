package fsys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"

	"connectrpc.com/connect"
)

const (
	// maxAtWork bounds the operations under way, each of which has an operating system thread.
	maxAtWork = 32
	// maxRequest bounds an RPC's request, in bytes.
	maxRequest = 1 << 20
)

// Options configure [New].
type Options struct {
	Root        *os.File     // the slot's root directory; must be given; stays the caller's
	DefaultUser string       // who asks when a request names nobody; default: "user"
	RootThenOwn bool         // do everything as root and give what is made to the user, as envd does
	Log         *slog.Logger // default: slog.Default()
}

// Service serves one slot's files.
type Service struct {
	log         *slog.Logger
	root        *Root
	defaultUser string
	rootThenOwn bool
	atWork      chan struct{} // a place for each operation under way

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup // watchers and the streams that tell of them

	watching watching

	mu     sync.Mutex
	closed bool
}

// New returns a service for the tree below o.Root. It needs openat2 (Linux 5.6).
func New(o Options) (*Service, error) {
	if o.Root == nil {
		return nil, errors.New("serve files: no root directory given")
	}
	root, err := NewRoot(o.Root)
	if err != nil {
		return nil, fmt.Errorf("serve files: %w", err)
	}
	s := &Service{
		log: cmp.Or(o.Log, slog.Default()), root: root, defaultUser: cmp.Or(o.DefaultUser, "user"),
		rootThenOwn: o.RootThenOwn, atWork: make(chan struct{}, maxAtWork),
	}
	s.watching.polling = map[string]*poller{}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Close ends all watchers and returns when they are gone. Requests that come later are refused; those under way finish
// or fail by themselves. A watch stream whose client does not read ends only with its connection, so the HTTP server
// is closed first.
func (s *Service) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.tasks.Wait()
	if again {
		return nil
	}
	return s.root.Close()
}

// begin takes a place among the tasks that Close waits for; the caller gives it back with tasks.Done.
func (s *Service) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return newFault(connect.CodeUnavailable, "the files are no longer served")
	}
	s.tasks.Add(1)
	return nil
}

// Lookup finds a user of the slot by name or by number; "" is the default user. The error of one who is not there
// wraps [ErrUnknownUser].
func (s *Service) Lookup(user string) (Identity, error) {
	a, err := s.actor(user)
	if err != nil {
		return Identity{}, err
	}
	return a.who, nil
}

// actor returns who does things for user.
func (s *Service) actor(user string) (*actor, error) {
	user = cmp.Or(user, s.defaultUser)
	var known accounts
	err := slotRoot().Run(func() error {
		known = readAccounts(s.root)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read users: %w", err)
	}
	who, ok := known.lookup(user)
	if !ok {
		return nil, &fault{connect.CodeUnauthenticated, fmt.Sprintf("invalid username: '%s'", user), ErrUnknownUser}
	}
	return &actor{root: s.root, who: who, own: s.rootThenOwn, names: known.names()}, nil
}

// run calls f with the rights that a's operations have, once a place is free. What f returns is a fault already.
func (s *Service) run(ctx context.Context, a *actor, f func() error) error {
	select {
	case s.atWork <- struct{}{}:
		defer func() { <-s.atWork }()
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ctx.Done():
		return newFault(connect.CodeUnavailable, "the files are no longer served")
	}
	as := a.who
	if a.own {
		as = slotRoot()
	}
	return as.Run(f)
}

// userOf returns whom a request names, or "": Basic authentication whose password means nothing.
func userOf(h http.Header) string {
	user, _, _ := (&http.Request{Header: h}).BasicAuth()
	return user
}
