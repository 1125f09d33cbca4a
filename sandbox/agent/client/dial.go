package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb/agentpbconnect"
)

const (
	// maxMessage bounds one message of the agent, in bytes: the largest ReadFiles and what surrounds it.
	maxMessage = MaxFileBytes + 1<<20
	// maxSession bounds those about processes of a session, whose output comes in small pieces.
	maxSession = 4 << 20
	// maxHeader bounds the headers of an answer, in bytes.
	maxHeader = 64 << 10
	// agentURL is an agent's, whose host nobody looks at.
	agentURL = "http://agent"
	// idleConn is how long an unused connection to an agent stays open.
	idleConn = 30 * time.Second
)

// Client speaks to the agent of one sandbox. Its methods can be called from any goroutine.
type Client struct {
	rpc       agentpbconnect.SlotServiceClient
	sessions  agentpbconnect.SessionServiceClient
	processes agentpbconnect.ProcessClient
	files     agentpbconnect.FilesystemClient
	transport *http.Transport
	sock      *os.File // O_PATH of agent.sock
	fds       *os.File // O_PATH of fds.sock
	closing   sync.WaitGroup
}

// Dial waits until the agent listens in dir, an O_PATH descriptor of the channel directory that stays the caller's,
// or until ctx is done. A socket's name that is a link, or no socket, is refused.
func Dial(ctx context.Context, dir *os.File) (_ *Client, err error) {
	c := &Client{}
	defer func() {
		if err != nil {
			c.closing.Wait()
		}
	}()
	// The agent puts agent.sock in place last, so what waits for it finds fds.sock too.
	if c.sock, err = awaitSocket(ctx, dir, "agent.sock", &c.closing); err != nil {
		return nil, err
	}
	sock := c.sock
	if c.fds, err = openSocket(dir, "fds.sock"); err != nil {
		return nil, errors.Join(err, sock.Close())
	}
	c.transport = &http.Transport{
		DisableCompression:     true,
		IdleConnTimeout:        idleConn,
		MaxResponseHeaderBytes: maxHeader,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialSocket(ctx, "unix", sock)
		},
	}
	web := &http.Client{Transport: c.transport}
	options := []connect.ClientOption{connect.WithReadMaxBytes(maxMessage), connect.WithAcceptCompression("gzip", nil, nil)}
	c.rpc = agentpbconnect.NewSlotServiceClient(web, agentURL, options...)
	session := append(slices.Clone(options), connect.WithReadMaxBytes(maxSession))
	c.sessions = agentpbconnect.NewSessionServiceClient(web, agentURL, session...)
	c.processes = agentpbconnect.NewProcessClient(web, agentURL, session...)
	c.files = agentpbconnect.NewFilesystemClient(web, agentURL, options...)
	return c, nil
}

// Close drops the connections. The agent and its slots live on, but a [Slot.Run] in progress ends its slot.
func (c *Client) Close() error {
	c.transport.CloseIdleConnections()
	c.closing.Wait()
	return errors.Join(c.sock.Close(), c.fds.Close())
}

// Coverage returns the agent's coverage data, as runtime/coverage writes it.
func (c *Client) Coverage(ctx context.Context) (meta, counters []byte, err error) {
	resp, err := c.rpc.Coverage(ctx, connect.NewRequest(&coverageRequest{}))
	if err != nil {
		return nil, nil, fmt.Errorf("read the agent's coverage: %w", err)
	}
	return resp.Msg.GetMeta(), resp.Msg.GetCounters(), nil
}

// dialSocket connects to the socket that f, an O_PATH descriptor, stands for.
func dialSocket(ctx context.Context, network string, f *os.File) (net.Conn, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("use descriptor of %s: %w", f.Name(), err)
	}
	var conn net.Conn
	var dialErr error
	// Inside Control the descriptor cannot be closed and its number given to another file.
	err = raw.Control(func(fd uintptr) {
		var d net.Dialer
		conn, dialErr = d.DialContext(ctx, network, fmt.Sprintf("/proc/self/fd/%d", fd))
	})
	if err := errors.Join(err, dialErr); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", f.Name(), err)
	}
	return conn, nil
}

// openSocket returns an O_PATH descriptor of the socket name in dir.
func openSocket(dir *os.File, name string) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the agent's %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, errors.Join(fmt.Errorf("stat the agent's %s: %w", name, err), f.Close())
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return nil, errors.Join(fmt.Errorf("open the agent's %s: mode %#o is not a socket's", name, st.Mode), f.Close())
	}
	return f, nil
}

// awaitSocket is openSocket once name is there. What it waited with is closed in the background, as part of closing: the
// kernel takes 10 to 20 ms for it, a grace period.
func awaitSocket(ctx context.Context, dir *os.File, name string, closing *sync.WaitGroup) (*os.File, error) {
	f, err := openSocket(dir, name)
	if !errors.Is(err, unix.ENOENT) {
		return f, err
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if errors.Is(err, unix.EMFILE) {
		return pollSocket(ctx, dir, name) // the user's other programs, or several sandboxes, hold all there are
	} else if err != nil {
		return nil, fmt.Errorf("wait for the agent's %s: inotify: %w", name, err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	defer closing.Go(func() { _ = events.Close() })
	path := fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
	_, err = unix.InotifyAddWatch(fd, path, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ONLYDIR)
	if errors.Is(err, unix.ENOSPC) {
		return pollSocket(ctx, dir, name)
	} else if err != nil {
		return nil, fmt.Errorf("wait for the agent's %s: watch its directory: %w", name, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = events.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, 4096)
	for {
		// After the watch was set, and after every event: what appears between a look and a wait is an event.
		f, err := openSocket(dir, name)
		if !errors.Is(err, unix.ENOENT) {
			return f, err
		}
		if _, err := events.Read(buf); err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return nil, fmt.Errorf("wait for the agent's %s: %w", name, err)
		}
	}
}

// pollSocket is openSocket once name is there, for a host that lets nobody watch.
func pollSocket(ctx context.Context, dir *os.File, name string) (*os.File, error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		f, err := openSocket(dir, name)
		if !errors.Is(err, unix.ENOENT) {
			return f, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the agent's %s: %w", name, context.Cause(ctx))
		}
	}
}
