package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
)

// runSpec is a program and its limits.
type runSpec struct {
	argv, env    []string
	dir          string
	stdin        []byte
	rlimits      []rlimit
	disk, inodes int64
	output       int64
	pollMemory   int64         // 0: not polled
	pollCPU      time.Duration // 0: not polled
}

// run is a slot's one program on its way.
type run struct {
	s       *slot
	spec    runSpec
	base    space // what SoulBox wrote
	out     *output
	stdin   *os.File
	reports *awaited // of the launcher on this run
	started report

	mu        sync.Mutex
	last      sample
	peak      int64
	processes int64
	memoryHit bool
	cpuHit    bool
}

// run runs spec to its end and calls send, from one goroutine, for all that happens meanwhile. An error means that
// the agent failed, or that ctx ended; the slot is dead in any case.
func (s *slot) run(ctx context.Context, spec runSpec, send func(*agentpb.RunResponse) error) (*agentpb.End, error) {
	base, err := s.begin()
	if err != nil {
		return nil, err
	}
	defer s.finish()
	r := &run{s: s, spec: spec, base: base}
	if err := r.start(ctx); err != nil {
		s.kill()
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var end *agentpb.End
	var wg sync.WaitGroup
	defer wg.Wait()
	pollCtx, stopPoll := context.WithCancel(ctx)
	defer stopPoll()
	if r.running() {
		wg.Go(func() { r.poll(pollCtx) })
		wg.Go(func() { feed(pollCtx, r.stdin, spec.stdin) })
	} else {
		_ = r.stdin.Close()
	}
	ended := make(chan struct{})
	wg.Go(func() {
		defer close(ended)
		end = r.supervise(ctx)
		stopPoll()
		r.out.drain()
	})
	wg.Go(r.out.closeWhenRead)
	err = r.relay(send, cancel)
	<-ended
	r.finish(end)
	if ctx.Err() != nil {
		err = errors.Join(err, context.Cause(ctx))
	}
	return end, err
}

// running says that the program was started.
func (r *run) running() bool { return r.started.kind == msgStarted && r.started.errno == 0 }

// start hands the program to the launcher and waits for its report; without one, the launcher is gone.
func (r *run) start(ctx context.Context) error {
	m := runMessage{
		size: uint64(r.base.used + roundUp(r.spec.disk)), inodes: uint64(r.base.inodesUsed + r.spec.inodes),
		uid: uint32(r.s.uid), gid: uint32(r.s.gid), groups: []uint32{uint32(r.s.gid)},
		rlimits: r.spec.rlimits, argv: r.spec.argv, env: r.spec.env, dir: r.spec.dir,
	}
	payload, err := memfd(m.payload())
	if err != nil {
		return err
	}
	defer payload.Close()
	ours, theirs, err := makePipes(r.s.uid, r.s.gid)
	if err != nil {
		return err
	}
	defer closeAll(theirs)
	r.stdin = ours[0]
	r.out = newOutput(ours[1], ours[2], r.spec.output, r.s.kill)
	// A launcher that is gone cannot be told; its death says more than the error.
	r.reports = r.s.launcher.expect()
	sendErr := r.s.launcher.send(m.encode(r.reports.seq, len(m.payload())), append(theirs, payload))
	select {
	case r.started = <-r.reports.started:
	case failed := <-r.s.launcher.ready:
		err = failed.err()
	case <-r.s.launcher.dead:
		r.s.launcher.done.Wait()
		select {
		case r.started = <-r.reports.started:
		case failed := <-r.s.launcher.ready:
			err = failed.err()
		default:
		}
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		closeAll(theirs)
		_ = r.stdin.Close()
		r.s.kill()
		r.out.drain()
		go r.out.closeWhenRead()
		for range r.out.chunks { // nothing ran, or nobody asks
		}
		return fmt.Errorf("start program: %w", errors.Join(err, sendErr))
	}
	return nil
}

// relay sends output and usage until the output has ended. When it cannot be sent it calls cancel and drops the rest.
func (r *run) relay(send func(*agentpb.RunResponse) error, cancel func()) error {
	var failed error
	deliver := func(m *agentpb.RunResponse) {
		if failed != nil {
			return
		}
		if err := send(m); err != nil {
			failed = fmt.Errorf("send event of run: %w", err)
			cancel()
		}
	}
	if r.running() {
		start := &agentpb.ProcessEvent_StartEvent{Pid: uint32(r.started.pid)}
		deliver(processEvent(&agentpb.ProcessEvent{Event: &agentpb.ProcessEvent_Start{Start: start}}))
	}
	ticker := time.NewTicker(usageEvery)
	defer ticker.Stop()
	for {
		select {
		case c, ok := <-r.out.chunks:
			if !ok {
				return failed
			}
			deliver(c.response())
		case <-ticker.C:
			deliver(&agentpb.RunResponse{Event: &agentpb.RunResponse_Usage{Usage: r.usage()}})
		}
	}
}

// supervise waits for the program's end, kills what it left behind and returns what is known.
func (r *run) supervise(ctx context.Context) *agentpb.End {
	l := r.s.launcher
	end := &agentpb.End{}
	var exit report
	if r.running() {
		select {
		case exit = <-r.reports.exited:
		case <-l.dead:
		case <-ctx.Done():
			r.s.kill()
		}
	}
	r.measure(end)
	l.end()
	if exit.kind == 0 {
		select {
		case exit = <-r.reports.exited:
		default:
		}
	}
	if exit.kind != 0 && exit.status != 0 { // of no interest after a success
		end.FileFull = r.fileFull()
	}
	total := exit
	select {
	case total = <-l.total:
	default:
	}
	end.TreeUserNanos, end.TreeSystemNanos = int64(total.treeUser), int64(total.treeSystem)
	end.PeakProcesses = int64(total.reaped) + 1 // those left, and the main one, which had just ended
	if g := r.s.group; g != nil {
		if now, err := g.sample(); err == nil {
			end.TreeUserNanos, end.TreeSystemNanos = int64(now.user), int64(now.system)
		}
		end.PeakProcesses, end.RefusedForks = g.processes()
	}
	switch {
	case r.started.errno != 0:
		end.StartErrno, end.StartStep = int32(r.started.errno), r.started.label
	case exit.kind == 0:
		end.WaitStatus, end.LauncherGone = uint32(unix.SIGKILL), true
		end.UserNanos, end.SystemNanos = end.TreeUserNanos, end.TreeSystemNanos
		if r.running() {
			end.WallNanos = int64(time.Since(r.started.at))
		}
	default:
		end.WaitStatus, end.WallNanos = uint32(exit.status), int64(exit.at.Sub(r.started.at))
		end.UserNanos, end.SystemNanos, end.MaxRssBytes = int64(exit.user), int64(exit.system), exit.maxRSS
	}
	return end
}

// measure notes what the program holds in its tmpfs.
func (r *run) measure(end *agentpb.End) {
	now, err := r.s.space()
	if err != nil {
		return // the descriptor is ours and open: cannot be
	}
	end.DiskTotal, end.InodesTotal = roundUp(r.spec.disk), r.spec.inodes
	end.DiskUsed = min(max(now.used-r.base.used, 0), end.DiskTotal)
	end.InodesUsed = min(max(now.inodesUsed-r.base.inodesUsed, 0), end.InodesTotal)
	if r.running() {
		end.DiskFull, end.InodesFull = now.used >= now.total, now.inodesUsed >= now.inodesTotal
	}
}

// What fileFull looks at, of a tree that a program made: every step to a file in it is a call of the kernel, under gVisor a
// slow one, and the answer waits.
const (
	maxLook      = 20_000 // entries
	maxLookDepth = 32     // directories below each other
	lookTime     = 500 * time.Millisecond
)

// fileFull reports whether a file in the work directory is exactly as large as a file may become. A program that
// ignores SIGXFSZ, as Python does, is told so by an error number, which nobody else sees.
func (r *run) fileFull() bool {
	var limit uint64
	for _, l := range r.spec.rlimits {
		if l.resource == unix.RLIMIT_FSIZE {
			limit = l.soft
		}
	}
	if limit == 0 {
		return false
	}
	full, seen, began := false, 0, time.Now()
	err := fs.WalkDir(r.s.work.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if seen++; seen > maxLook || time.Since(began) > lookTime {
			return fs.SkipAll
		}
		if d != nil && d.IsDir() && strings.Count(path, "/") >= maxLookDepth {
			return fs.SkipDir
		}
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // what cannot be read is not looked at
		}
		if info, err := d.Info(); err == nil && uint64(info.Size()) == limit {
			full = true
			return fs.SkipAll
		}
		return nil
	})
	return err == nil && full
}

// finish adds what the other goroutines of the run, which have ended, found out.
func (r *run) finish(end *agentpb.End) {
	r.out.mu.Lock()
	end.OutputExceeded, end.StdoutTruncated, end.StderrTruncated = r.out.exceeded, r.out.cut[0], r.out.cut[1]
	r.out.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	end.TreeUserNanos = max(end.TreeUserNanos, int64(r.last.user))
	end.TreeSystemNanos = max(end.TreeSystemNanos, int64(r.last.system))
	end.PeakProcesses = max(end.PeakProcesses, r.processes)
	end.PeakPolledBytes, end.MemoryExceeded, end.CpuExceeded = r.peak, r.memoryHit, r.cpuHit
	end.Killed = r.s.killed.Load()
}

// poll keeps the limits that no cgroup keeps, and knows the usage.
func (r *run) poll(ctx context.Context) {
	every := usageEvery
	if r.spec.pollMemory > 0 || r.spec.pollCPU > 0 {
		every = pollEvery
	}
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.s.launcher.dead:
			return
		case <-timer.C:
		}
		if r.look() {
			r.s.kill()
			return
		}
		timer.Reset(r.rest(every))
	}
}

// look takes a sample and says whether a limit is exceeded.
func (r *run) look() bool {
	now, err := r.s.sample(true)
	if err != nil {
		return false // the slot is dying
	}
	if disk, err := r.s.space(); err == nil && r.s.group == nil { // which counts it
		now.memory += max(disk.used-r.base.used, 0)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// Times of processes that nobody waits for would vanish with them.
	now.user, now.system = max(now.user, r.last.user), max(now.system, r.last.system)
	r.last = now
	r.processes = max(r.processes, now.threads)
	if r.spec.pollMemory > 0 {
		r.peak = max(r.peak, now.memory)
		r.memoryHit = now.memory > r.spec.pollMemory
	}
	if r.spec.pollCPU > 0 {
		r.cpuHit = now.user+now.system > r.spec.pollCPU
	}
	return r.memoryHit || r.cpuHit
}

func (r *run) usage() *agentpb.Usage {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := &agentpb.Usage{UserNanos: int64(r.last.user), SystemNanos: int64(r.last.system), MemoryBytes: r.last.memory}
	if r.running() {
		u.WallNanos = int64(time.Since(r.started.at))
	}
	return u
}

// roundUp rounds bytes up to what a tmpfs counts in.
func roundUp(n int64) int64 {
	page := int64(os.Getpagesize())
	return (n + page - 1) / page * page
}

// memfd returns a file in memory that holds b.
func memfd(b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("run", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make memory file for run: %w", err)
	}
	f := os.NewFile(uintptr(fd), "run")
	if _, err := f.Write(b); err != nil {
		return nil, errors.Join(fmt.Errorf("fill memory file for run: %w", err), f.Close())
	}
	return f, nil
}

// makePipes makes stdin, stdout and stderr. Our ends do not block; the program's do, and belong to its user, so that
// it can open /dev/stdout.
func makePipes(uid, gid int) (ours, theirs []*os.File, err error) {
	defer func() {
		if err != nil {
			closeAll(ours)
			closeAll(theirs)
			ours, theirs = nil, nil
		}
	}()
	for i, name := range []string{"stdin", "stdout", "stderr"} {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return ours, theirs, fmt.Errorf("make pipe for %s: %w", name, err)
		}
		mine, other := p[0], p[1]
		if i == 0 {
			mine, other = p[1], p[0]
		}
		err := errors.Join(unix.SetNonblock(mine, true), unix.Fchown(other, uid, gid))
		ours, theirs = append(ours, os.NewFile(uintptr(mine), name)), append(theirs, os.NewFile(uintptr(other), name))
		if err != nil {
			return ours, theirs, fmt.Errorf("set up pipe for %s: %w", name, err)
		}
	}
	return ours, theirs, nil
}
