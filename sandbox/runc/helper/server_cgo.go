//go:build cgo && libseccomp

package helper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"

	// The device controller of cgroup v2 is compiled in by this import alone.
	_ "github.com/opencontainers/cgroups/devices"
	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Compiler compiles a seccomp profile by name. It is passed in: the helper package stays free of cgo.
type Compiler func(profile string) ([]byte, error)

// Server has the methods that the daemon calls. Its methods are safe for concurrent use.
type Server struct {
	compile    Compiler
	libseccomp string

	mu      sync.Mutex
	started map[string]*running // by root and id
}

// running is a container that this process started, and therefore reaps.
type running struct {
	container *libcontainer.Container
	gone      chan struct{} // closed when PID 1 was reaped
}

// NewServer returns a server that compiles profiles with compile.
func NewServer(compile Compiler, libseccomp string) *Server {
	return &Server{compile: compile, libseccomp: libseccomp, started: map[string]*running{}}
}

// Serve answers calls on the inherited socket until it is closed.
func Serve(s *Server) error {
	f := os.NewFile(SocketFD, "helper-socket")
	unix.CloseOnExec(SocketFD)
	unix.CloseOnExec(ExecutableFD)
	conn, err := net.FileConn(f)
	if err != nil {
		return fmt.Errorf("use the inherited socket: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("close the inherited socket: %w", err)
	}
	srv := rpc.NewServer()
	if err := srv.RegisterName("Helper", s); err != nil {
		return fmt.Errorf("register methods: %w", err)
	}
	srv.ServeConn(conn)
	return nil
}

// Version reports what is linked in.
func (s *Server) Version(_ None, reply *VersionReply) error {
	reply.Libseccomp = s.libseccomp
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == "github.com/opencontainers/runc" {
				reply.Libcontainer = d.Version
			}
		}
	}
	return nil
}

// Compile compiles a seccomp profile.
func (s *Server) Compile(args CompileArgs, reply *CompileReply) (err error) {
	reply.Filter, err = s.compile(args.Profile)
	return err
}

// Start creates a container from a bundle and starts its PID 1. On failure nothing of it is left.
func (s *Server) Start(args StartArgs, reply *StartReply) (err error) {
	spec, err := readSpec(args.Bundle)
	if err != nil {
		return err
	}
	config, err := specconv.CreateLibcontainerConfig(&specconv.CreateOpts{
		CgroupName:      args.ID,
		Spec:            spec,
		RootlessCgroups: args.NoCgroups,
	})
	if err != nil {
		return fmt.Errorf("convert the bundle of %s: %w", args.ID, err)
	}
	users, err := newNamespace(spec)
	if err != nil {
		return fmt.Errorf("prepare container %s: %w", args.ID, err)
	}
	defer users.close()
	config.Namespaces.Add(configs.NEWUSER, users.path())
	out, err := openOutput(args.Stderr)
	if err != nil {
		return err
	}
	defer out.Close()
	c, err := libcontainer.Create(args.Root, args.ID, config)
	if err != nil {
		return fmt.Errorf("create container %s: %w", args.ID, err)
	}
	p := &libcontainer.Process{
		Args:            spec.Process.Args,
		Env:             spec.Process.Env,
		UID:             int(spec.Process.User.UID),
		GID:             int(spec.Process.User.GID),
		Cwd:             spec.Process.Cwd,
		Stdout:          out,
		Stderr:          out,
		NoNewPrivileges: &spec.Process.NoNewPrivileges,
		Init:            true,
	}
	if err := c.Run(p); err != nil {
		return errors.Join(fmt.Errorf("start container %s: %w", args.ID, err), c.Destroy())
	}
	r := &running{container: c, gone: make(chan struct{})}
	go func() { // ends with the container, which Destroy or the namespace's end ends
		defer close(r.gone)
		_, _ = p.Wait() // how PID 1 ended is of no interest: its slots' outcomes were told by the agent
	}()
	s.mu.Lock()
	s.started[filepath.Join(args.Root, args.ID)] = r
	s.mu.Unlock()
	if reply.PID, err = p.Pid(); err != nil {
		return fmt.Errorf("pid of container %s: %w", args.ID, err)
	}
	return nil
}

// Destroy ends a container and everything in it and removes its state. It is not an error that there is none.
func (s *Server) Destroy(args DestroyArgs, _ *None) error {
	key := filepath.Join(args.Root, args.ID)
	s.mu.Lock()
	r := s.started[key]
	delete(s.started, key)
	s.mu.Unlock()
	if r == nil {
		return destroyInherited(args)
	}
	if err := r.container.Signal(unix.SIGKILL); err != nil && !notRunning(err) {
		return fmt.Errorf("kill container %s: %w", args.ID, err)
	}
	<-r.gone
	if err := r.container.Destroy(); err != nil {
		return fmt.Errorf("destroy container %s: %w", args.ID, err)
	}
	return nil
}

// destroyInherited ends a container that an earlier helper started: its PID 1 is a child of the wide PID 1.
func destroyInherited(args DestroyArgs) error {
	c, err := libcontainer.Load(args.Root, args.ID)
	if errors.Is(err, libcontainer.ErrNotExist) {
		// A start that was cut off leaves a directory without state: there is no process either.
		return os.RemoveAll(filepath.Join(args.Root, args.ID))
	}
	if err != nil {
		return fmt.Errorf("load container %s: %w", args.ID, err)
	}
	if st, err := c.State(); err == nil && st.InitProcessPid > 0 {
		if err := killAndWait(st.InitProcessPid, func() error { return c.Signal(unix.SIGKILL) }); err != nil {
			return fmt.Errorf("kill container %s: %w", args.ID, err)
		}
	}
	if err := c.Destroy(); err != nil {
		return fmt.Errorf("destroy container %s: %w", args.ID, err)
	}
	return nil
}

// killAndWait kills through kill and returns when pid is gone. The pidfd is opened first, so that the wait cannot
// follow a reused number; it is readable only when the whole pid namespace is dead.
func killAndWait(pid int, kill func() error) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open pid %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if err := kill(); err != nil {
		if notRunning(err) {
			return nil
		}
		return err
	}
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func notRunning(err error) bool {
	return errors.Is(err, libcontainer.ErrNotRunning) || errors.Is(err, os.ErrProcessDone) || errors.Is(err, unix.ESRCH)
}

func readSpec(bundle string) (*specs.Spec, error) {
	b, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	var spec specs.Spec
	if err := json.Unmarshal(b, &spec); err != nil {
		return nil, fmt.Errorf("decode %s/config.json: %w", bundle, err)
	}
	if spec.Process == nil || spec.Root == nil || spec.Linux == nil {
		return nil, fmt.Errorf("%s/config.json lacks process, root or linux", bundle)
	}
	return &spec, nil
}

// openOutput opens the file that PID 1 writes to. It must not be a pipe of the daemon: PID 1 outlives daemons.
func openOutput(path string) (io.WriteCloser, error) {
	if path == "" {
		path = os.DevNull
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open the sandbox's log: %w", err)
	}
	return f, nil
}
