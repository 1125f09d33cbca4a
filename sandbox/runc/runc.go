package runc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/runc/helper"
)

// Options configure [New].
type Options struct {
	Helper    []byte // the helper's executable
	Dir       string // libcontainer's state directory; made when missing
	NoCgroups bool   // no cgroup can be written here
	Rootless  bool   // what Info reports
	Enforced  []sandbox.LimitName
	// Lost is called, from another goroutine, when the helper ends before Close: nothing can be started or ended any more.
	// It may be nil.
	Lost func(error)
}

// Runtime is the libcontainer runtime. Close ends its helper, not the containers.
type Runtime struct {
	opts Options
	cmd  *exec.Cmd
	conn *rpc.Client
	info sandbox.RuntimeInfo

	closing sync.Once
	closed  error
	leave   chan struct{} // closed by Close, before it lets the helper end
	ended   chan error    // receives how the helper ended
}

// New starts the helper.
func New(ctx context.Context, o Options) (_ *Runtime, err error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make libcontainer's state directory: %w", err)
	}
	exe, err := sealed(o.Helper)
	if err != nil {
		return nil, err
	}
	defer exe.Close()
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err = errors.Join(err, ours.Close()); err != nil {
		return nil, fmt.Errorf("use the helper's socket: %w", err)
	}
	// Not CommandContext: the helper lives until Close.
	cmd := exec.Command("/proc/self/fd/4") //nolint:noctx // see above
	cmd.Args = []string{"soulbox-helper"}
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{theirs, exe}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the helper: %w", err), conn.Close())
	}
	r := &Runtime{opts: o, cmd: cmd, conn: rpc.NewClient(conn), leave: make(chan struct{}), ended: make(chan error, 1)}
	go r.watch()
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	var v helper.VersionReply
	if err := r.call(ctx, "Version", helper.None{}, &v); err != nil {
		return nil, err
	}
	r.info = sandbox.RuntimeInfo{Name: "runc", Version: "libcontainer " + v.Libcontainer, Rootless: o.Rootless, Enforced: o.Enforced,
		Features: []sandbox.Feature{{Name: "seccomp", Answer: sandbox.AnswerYes, Detail: "libseccomp " + v.Libseccomp}}}
	return r, nil
}

// watch waits for the helper's end, which Close waits for in turn.
func (r *Runtime) watch() {
	err := r.cmd.Wait()
	select {
	case <-r.leave:
	default:
		if r.opts.Lost != nil {
			r.opts.Lost(fmt.Errorf("the helper ended: %w", cmp.Or(err, io.EOF)))
		}
	}
	r.ended <- err
}

// Info implements [sandbox.Runtime].
func (r *Runtime) Info() sandbox.RuntimeInfo { return r.info }

// Start implements [sandbox.Runtime].
func (r *Runtime) Start(ctx context.Context, id sandbox.ID, bundle, stderr string) error {
	var reply helper.StartReply
	return r.call(ctx, "Start", helper.StartArgs{Root: r.opts.Dir, ID: string(id), Bundle: bundle, Stderr: stderr, NoCgroups: r.opts.NoCgroups}, &reply)
}

// Destroy implements [sandbox.Runtime].
func (r *Runtime) Destroy(ctx context.Context, id sandbox.ID) error {
	return r.call(ctx, "Destroy", helper.DestroyArgs{Root: r.opts.Dir, ID: string(id)}, &helper.None{})
}

// List implements [sandbox.Runtime].
func (r *Runtime) List(context.Context) ([]sandbox.ID, error) {
	entries, err := os.ReadDir(r.opts.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	ids := make([]sandbox.ID, 0, len(entries))
	for _, e := range entries {
		ids = append(ids, sandbox.ID(filepath.Base(e.Name())))
	}
	return ids, nil
}

// Compile returns the BPF of a seccomp profile.
func (r *Runtime) Compile(ctx context.Context, profile string) ([]byte, error) {
	var reply helper.CompileReply
	err := r.call(ctx, "Compile", helper.CompileArgs{Profile: profile}, &reply)
	return reply.Filter, err
}

// Close ends the helper and waits for it. Containers go on.
func (r *Runtime) Close() error {
	r.closing.Do(func() {
		close(r.leave)
		r.closed = r.conn.Close()
		if err := <-r.ended; err != nil {
			r.closed = errors.Join(r.closed, fmt.Errorf("wait for the helper: %w", err))
		}
	})
	return r.closed
}

// call waits for the answer or for ctx. A call that is given up goes on in the helper.
func (r *Runtime) call(ctx context.Context, method string, args, reply any) error {
	c := r.conn.Go("Helper."+method, args, reply, make(chan *rpc.Call, 1))
	select {
	case <-c.Done:
		if c.Error != nil {
			return fmt.Errorf("helper %s: %w", method, c.Error)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("helper %s: %w", method, context.Cause(ctx))
	}
}

// sealed writes b to a memfd that nobody can change any more. libcontainer starts containers from its own executable
// and copies that first unless it is sealed; and a process of a sandbox that got hold of it could not overwrite it.
func sealed(b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("soulbox-helper", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("soulbox-helper", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("make the helper's memfd: %w", err)
	}
	f := os.NewFile(uintptr(fd), "soulbox-helper")
	if _, err := f.Write(b); err != nil {
		return nil, errors.Join(fmt.Errorf("write the helper's memfd: %w", err), f.Close())
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, errors.Join(fmt.Errorf("seal the helper's memfd: %w", err), f.Close())
	}
	return f, nil
}

func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make the helper's socket: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "helper"), os.NewFile(uintptr(fds[1]), "daemon"), nil
}
