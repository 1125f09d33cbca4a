package runsc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/cgroups"
	"github.com/soulbox/soulbox/sandbox"
)

// Name is the runtime's, as requests have it.
const Name = "runsc"

// Version is gVisor's that the module in tool names.
const Version = "20260905035102-160fafc42237"

// Options configure [New].
type Options struct {
	// Binary returns the path of runsc. It is asked when the first sandbox is wanted, and after a failure again.
	Binary   func() (string, error)
	Dir      string        // state of all sandboxes, in a directory that lives as long as they can; made when missing
	Cgroups  *cgroups.Tree // in which each sandbox has its box before it starts
	Rootless bool          // what Info reports
	// Unavailable is what Info reports: why Binary will find nothing; empty when it will.
	Unavailable string
}

// Runtime is gVisor's runtime. It holds nothing.
type Runtime struct {
	opts Options

	mu     sync.Mutex
	binary string // empty until it was found
}

// New returns the runtime. It starts nothing.
func New(o Options) (*Runtime, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make runsc's state directory: %w", err)
	}
	return &Runtime{opts: o}, nil
}

// path returns the path of runsc.
func (r *Runtime) path() (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.binary == "" {
		path, err := r.opts.Binary()
		if err != nil {
			return "", fmt.Errorf("find runsc: %w", err)
		}
		r.binary = path
	}
	return r.binary, nil
}

// Start implements [sandbox.Runtime].
func (r *Runtime) Start(ctx context.Context, id sandbox.ID, bundle, stderr string) (err error) {
	binary, err := r.path()
	if err != nil {
		return err
	}
	dir := r.dir(id)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("start %s: %w", id, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Destroy(context.WithoutCancel(ctx), id))
		}
	}()
	if err := remember(dir, binary); err != nil {
		return fmt.Errorf("start %s: %w", id, err)
	}
	groups, err := r.groups(id)
	if err != nil {
		return fmt.Errorf("start %s: %w", id, err)
	}
	defer func() {
		for _, f := range groups {
			err = errors.Join(err, f.Close())
		}
	}()
	log, err := os.OpenFile(stderr, os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", id, err)
	}
	defer log.Close()
	return r.run(ctx, command(binary, dir, bundle, id, len(groups)), groups, log)
}

// groups opens what joins the groups that a sandbox is to be in; none where the host has none.
func (r *Runtime) groups(id sandbox.ID) ([]*os.File, error) {
	if r.opts.Cgroups.Mode() == cgroups.ModeNone {
		return nil, nil
	}
	box, err := r.opts.Cgroups.LoadBox(string(id))
	if err != nil {
		return nil, err
	}
	return box.Agent().Procs()
}

// run runs a command of runsc to its end, in groups. What it starts has log as its output.
func (r *Runtime) run(ctx context.Context, args []string, groups []*os.File, log *os.File) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = groups
	// A start that loses its daemon ends, so that nothing of it comes up after the next daemon has looked. The signal comes
	// when the thread ends that started it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run runsc (%s): %w", said(log.Name()), errors.Join(err, context.Cause(ctx)))
	}
	return nil
}

// said returns the last line of a log.
func said(path string) []byte {
	text, err := os.ReadFile(path)
	if err != nil {
		return []byte(err.Error())
	}
	text = bytes.TrimSpace(text)
	const most = 1000
	return text[max(bytes.LastIndexByte(text, '\n')+1, len(text)-most):]
}

// Destroy implements [sandbox.Runtime].
func (r *Runtime) Destroy(ctx context.Context, id sandbox.ID) error {
	dir := r.dir(id)
	if err := end(ctx, dir); err != nil {
		return fmt.Errorf("end %s: %w", id, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the state of %s: %w", id, err)
	}
	return nil
}

// List implements [sandbox.Runtime].
func (r *Runtime) List(context.Context) ([]sandbox.ID, error) {
	entries, err := os.ReadDir(r.opts.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list sandboxes of runsc: %w", err)
	}
	ids := make([]sandbox.ID, 0, len(entries))
	for _, e := range entries {
		ids = append(ids, sandbox.ID(e.Name()))
	}
	return ids, nil
}

// dir is the state directory of one sandbox.
func (r *Runtime) dir(id sandbox.ID) string {
	return filepath.Join(r.opts.Dir, filepath.Base(string(id)))
}
