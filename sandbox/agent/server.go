package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"connectrpc.com/connect"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb/agentpbconnect"
)

const (
	// maxSlots bounds the slots of one sandbox.
	maxSlots = 64
	// maxRequest bounds one request, in bytes.
	maxRequest = maxRead + 4<<20
	// headerTimeout bounds how long a client may take over a request's header.
	headerTimeout = 10 * time.Second
)

// Options configure [Serve].
type Options struct {
	Dir      string       // the channel directory; must be given
	Launcher string       // default: "launcher" beside the agent's executable
	Log      *slog.Logger // default: slog.Default()
	// TrimDevices removes devices of /dev that no sandbox has. It is for a /dev that is the sandbox's own.
	TrimDevices bool
	Unmount     []string // what no sandbox has mounted, and this one's runtime did all the same
}

// Server holds the slots of one sandbox.
type Server struct {
	log      *slog.Logger
	launcher string
	reaper   *reaper
	fds      *fdStore
	groups   groups
	closing  sync.WaitGroup // slots on their way out

	mu       sync.Mutex
	slots    map[string]*slot
	session  *session // nil: none was opened
	reserved int      // slots that are being prepared
}

// Serve is the agent: it protects itself, listens in the channel directory and returns when ctx is done or it cannot
// go on. It takes over all children of the process.
func Serve(ctx context.Context, o Options) (err error) {
	s, err := newServer(o)
	if err != nil {
		return err
	}
	signal.Ignore(unix.SIGPIPE)
	if err := tidy(o); err != nil {
		return err
	}
	if err := protectSelf(o.Dir); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	reapCtx, stopReaping := context.WithCancel(context.WithoutCancel(ctx))
	wg.Go(func() { s.reaper.run(reapCtx) })
	defer stopReaping()
	defer s.closeSlots()

	fds, err := listen(o.Dir, "unixpacket", "fds.sock")
	if err != nil {
		return err
	}
	rpcs, err := listen(o.Dir, "unix", "agent.sock") // last: a client waits for this name
	if err != nil {
		return errors.Join(err, fds.Close())
	}
	wg.Go(func() { cancel(s.fds.serve(ctx, fds)) })
	mux := http.NewServeMux()
	options := []connect.HandlerOption{connect.WithReadMaxBytes(maxRequest), connect.WithCompression("gzip", nil, nil)}
	mux.Handle(agentpbconnect.NewSlotServiceHandler(&service{s}, options...))
	mux.Handle(agentpbconnect.NewSessionServiceHandler(&sessionService{s}, options...))
	mux.Handle(agentpbconnect.NewProcessHandler(&processService{s}, options...))
	s.envd(mux)
	web := &http.Server{Handler: mux, ReadHeaderTimeout: headerTimeout, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn)}
	stop := context.AfterFunc(ctx, func() { _ = web.Close() })
	defer stop()
	if err := web.Serve(rpcs); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the agent's RPCs: %w", err)
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func newServer(o Options) (*Server, error) {
	if o.Dir == "" {
		return nil, errors.New("start agent: no channel directory given")
	}
	if o.Launcher == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find launcher: %w", err)
		}
		o.Launcher = filepath.Join(filepath.Dir(self), "launcher")
	}
	log := cmp.Or(o.Log, slog.Default())
	return &Server{log: log, launcher: o.Launcher, reaper: newReaper(log), fds: newFDStore(), slots: map[string]*slot{}}, nil
}

// tidy removes what a runtime adds, whatever the sandbox's configuration says: gVisor has devices for fuse and tun beside the
// harmless ones, a sysfs, and a tmpfs on an empty /tmp.
func tidy(o Options) error {
	for _, dir := range o.Unmount {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
	}
	if !o.TrimDevices {
		return nil
	}
	for _, name := range []string{"char", "fuse", "net"} {
		if err := os.RemoveAll(filepath.Join("/dev", name)); err != nil {
			return fmt.Errorf("remove devices: %w", err)
		}
	}
	return nil
}

// listen puts a listening socket at dir/name. It is renamed there once it listens, so that whoever finds it can
// connect.
func listen(dir, network, name string) (*net.UnixListener, error) {
	temp := filepath.Join(dir, "."+name)
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket %s: %w", temp, err)
	}
	l, err := net.ListenUnix(network, &net.UnixAddr{Name: temp, Net: network})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", name, err)
	}
	l.SetUnlinkOnClose(false)
	if err := os.Rename(temp, filepath.Join(dir, name)); err != nil {
		return nil, errors.Join(fmt.Errorf("put socket %s in place: %w", name, err), l.Close())
	}
	return l, nil
}

// reserve takes one of the places for slots; release gives it back.
func (s *Server) reserve() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.slots)+s.reserved >= maxSlots {
		return fmt.Errorf("%d slots exist, the most a sandbox can have", maxSlots)
	}
	s.reserved++
	return nil
}

// settle turns a reservation into sl, or gives it back when sl is nil.
func (s *Server) settle(sl *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserved--
	if sl != nil {
		s.slots[sl.id] = sl
	}
}

var errNoSlot = errors.New("no such slot")

func (s *Server) slot(id string) (*slot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sl, ok := s.slots[id]
	if !ok {
		return nil, errNoSlot
	}
	return sl, nil
}

// remove takes a slot out of the table and closes it; the channel closes when that is done.
func (s *Server) remove(id string) (<-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sl, ok := s.slots[id]
	if !ok {
		return nil, errNoSlot
	}
	delete(s.slots, id)
	done := make(chan struct{})
	s.closing.Go(func() {
		defer close(done)
		if err := sl.close(); err != nil {
			s.log.Error("close slot", "id", id, "err", err)
		}
	})
	return done, nil
}

// closeSlots ends everything at the agent's own end.
func (s *Server) closeSlots() {
	s.mu.Lock()
	ids := make([]string, 0, len(s.slots))
	for id := range s.slots {
		ids = append(ids, id)
	}
	session := s.session
	s.mu.Unlock()
	if session != nil {
		if err := session.close(); err != nil {
			s.log.Error("close session", "err", err)
		}
	}
	for _, id := range ids {
		_, _ = s.remove(id) // gone meanwhile: as wanted
	}
	s.closing.Wait()
	s.fds.close()
}
