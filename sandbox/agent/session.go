package agent

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
	"github.com/soulbox/soulbox/sandbox/agent/fsys"
)

const (
	// maxProcesses bounds the processes of a session that were started by request and live.
	maxProcesses = 2000
	// keepEnded is how many ended processes are remembered, with what they printed.
	keepEnded = 100
	// keepEndedBytes bounds what they printed, together.
	keepEndedBytes = 8 << 20
)

// sessionPath is where programs are looked for when nobody says.
const sessionPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// session is the slot of a sandbox that lives on, and the processes in it.
type session struct {
	log      *slog.Logger
	slot     *slot
	files    *fsys.Service
	env      map[string]string
	user     string
	workdir  string
	rlimits  []rlimit
	memory   *groupWatch    // nil without a cgroup of its own
	watching sync.WaitGroup // a goroutine for each process

	mu      sync.Mutex
	closed  bool
	started int // processes on their way to live
	live    map[int32]*process
	ended   []*process // oldest first
}

// startSpec says what to start in a session.
type startSpec struct {
	config *agentpb.ProcessConfig
	user   string // empty: the session's
	pty    *agentpb.PTY
	stdin  bool
	input  []byte
	tag    string
	follow bool // somebody will follow it from the beginning: nothing is to be dropped before
}

// startError is why a process did not start that is its caller's to mend.
type startError struct{ msg string }

func (e *startError) Error() string { return e.msg }

// start starts a process.
func (s *session) start(ctx context.Context, spec startSpec) (_ *process, err error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	who, err := s.files.Lookup(cmp.Or(spec.user, s.user))
	if err != nil {
		return nil, err
	}
	m, err := s.message(spec, who)
	if err != nil {
		return nil, err
	}
	io, err := s.stdio(spec, who.UID, who.GID)
	if err != nil {
		return nil, err
	}
	p := &process{config: spec.config, user: who.Name, tag: spec.tag, terminal: spec.pty != nil, output: newTranscript(),
		ended: make(chan struct{}), quiet: make(chan struct{}), input: io.input}
	if spec.follow {
		p.output.hold()
	}
	started, err := s.launch(ctx, p, m, io.theirs)
	if err == nil && started.errno != 0 {
		err = refusedStart(started, m)
	}
	if err != nil {
		closeAll(append(io.read, io.input))
		return nil, err
	}
	p.pid, p.started = started.pid, started.at
	s.follow(p, io, spec)
	return p, nil
}

// enter takes one of the places for processes; leave gives it back once the process counts itself.
func (s *session) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return errClosed
	case len(s.live)+s.started >= maxProcesses:
		return fmt.Errorf("%w: %d processes run that were started by request", errTooMany, maxProcesses)
	}
	s.started++
	return nil
}

var errTooMany = errors.New("too many processes")

func (s *session) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started--
}

// message makes the launcher's order of spec.
func (s *session) message(spec startSpec, who fsys.Identity) (runMessage, error) {
	env := map[string]string{"PATH": sessionPath, "HOME": who.Home, "USER": who.Name, "LOGNAME": who.Name}
	if spec.pty != nil {
		env["TERM"] = "xterm-256color"
	}
	maps.Copy(env, s.env)
	maps.Copy(env, spec.config.GetEnvs())
	m := runMessage{
		uid: who.UID, gid: who.GID, groups: who.Groups, terminal: spec.pty != nil, rlimits: s.rlimits,
		argv: append([]string{spec.config.GetCmd()}, spec.config.GetArgs()...), dir: s.directory(spec.config.GetCwd(), who.Home),
	}
	for _, k := range slices.Sorted(maps.Keys(env)) {
		if k == "" || strings.Contains(k, "=") {
			return m, &startError{fmt.Sprintf("environment variable %q: a name must not be empty nor contain '='", k)}
		}
		m.env = append(m.env, k+"="+env[k])
	}
	if err := m.validate(); err != nil {
		return m, &startError{err.Error()}
	}
	return m, nil
}

// directory is where a process that asks for cwd begins.
func (s *session) directory(cwd, home string) string {
	switch {
	case cwd == "":
		return cmp.Or(s.workdir, home)
	case cwd == "~", strings.HasPrefix(cwd, "~/"):
		return path.Join(home, cwd[1:])
	case !path.IsAbs(cwd):
		return path.Join(home, cwd)
	}
	return cwd
}

func (s *session) stdio(spec startSpec, uid, gid uint32) (stdio, error) {
	if spec.pty != nil {
		return openTerminal(s.slot.workDir, uid, spec.pty.GetSize())
	}
	return pipes(uid, gid)
}

// launch hands m to the launcher and waits for its report.
func (s *session) launch(ctx context.Context, p *process, m runMessage, theirs []*os.File) (report, error) {
	l := s.slot.launcher
	defer closeAll(slices.Compact(slices.Clone(theirs))) // a terminal is there three times
	payload, err := memfd(m.payload())
	if err != nil {
		return report{}, err
	}
	defer payload.Close()
	p.reports = l.expect()
	if err := l.send(m.encode(p.reports.seq, len(m.payload())), append(slices.Clone(theirs), payload)); err != nil {
		l.forget(p.reports)
		return report{}, err
	}
	select {
	case r := <-p.reports.started:
		if r.errno != 0 {
			l.forget(p.reports)
		}
		return r, nil
	case <-l.dead:
		l.forget(p.reports)
		return report{}, errClosed
	case <-ctx.Done(): // it may start all the same: nobody knows it, and it is killed
		go s.disown(p.reports)
		return report{}, fmt.Errorf("start process: %w", context.Cause(ctx))
	}
}

// disown kills what starts after its caller has gone.
func (s *session) disown(w *awaited) {
	l := s.slot.launcher
	defer l.forget(w)
	select {
	case r := <-w.started:
		if r.errno == 0 {
			_ = s.signal(r.pid, unix.SIGKILL, flagGroup) // gone already: as wanted
		}
	case <-l.dead:
	}
}

// refusedStart says what a failed start means to its caller.
func refusedStart(r report, m runMessage) error {
	switch {
	case r.label == "chdir" && (r.errno == unix.ENOENT || r.errno == unix.ENOTDIR):
		return &startError{fmt.Sprintf("cwd '%s' does not exist", m.dir)}
	case r.label == "fork":
		return fmt.Errorf("%w: %w", errTooMany, r.errno)
	case r.label == "exec" && r.errno == unix.ENOENT:
		return &startError{fmt.Sprintf("fork/exec %s: no such file or directory", m.argv[0])}
	}
	return &startError{fmt.Sprintf("start %s: %s: %s", m.argv[0], r.label, r.errno)}
}

// find returns the process with a pid, the living first.
func (s *session) find(pid int32) (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.live[pid]; p != nil {
		return p, nil
	}
	for _, p := range s.ended {
		if p.pid == pid {
			return p, nil
		}
	}
	return nil, fmt.Errorf("%w with pid %d", errNoProcess, pid)
}

var errNoProcess = errors.New("no process")

// tagged returns the newest living process with a tag, or the newest that has ended.
func (s *session) tagged(tag string) (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found *process
	for _, p := range s.live {
		if p.tag == tag && tag != "" && (found == nil || p.started.After(found.started)) {
			found = p
		}
	}
	for _, p := range slices.Backward(s.ended) {
		if found == nil && p.tag == tag && tag != "" {
			found = p
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%w with tag %q", errNoProcess, tag)
	}
	return found, nil
}

// processes returns all known processes in the order of their starts.
func (s *session) processes() []*process {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := append(slices.Collect(maps.Values(s.live)), s.ended...)
	slices.SortFunc(all, func(a, b *process) int { return cmp.Or(a.started.Compare(b.started), cmp.Compare(a.pid, b.pid)) })
	return all
}

// signal has the launcher send a signal.
func (s *session) signal(pid int32, signal unix.Signal, flags uint32) error {
	l := s.slot.launcher
	w := l.expect()
	defer l.forget(w)
	if err := l.send(signalMessage(w.seq, pid, signal, flags), nil); err != nil {
		return err
	}
	select {
	case r := <-w.started:
		switch {
		case r.errno == unix.ESRCH:
			return fmt.Errorf("%w with pid %d", errNoProcess, pid)
		case r.errno != 0:
			return fmt.Errorf("send signal %d to process %d: %w", signal, pid, r.errno)
		}
		return nil
	case <-l.dead:
		return errClosed
	}
}

// close ends the session and everything in it.
func (s *session) close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.slot.kill()
	s.watching.Wait()
	return errors.Join(s.files.Close(), s.slot.close())
}

// basicUser returns the user that basic authentication names, "" without one. There is no password to it: who reaches
// the agent may be anybody inside.
func basicUser(header string) string {
	encoded, ok := strings.CutPrefix(header, "Basic ")
	if !ok {
		return ""
	}
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return ""
	}
	user, _, _ := strings.Cut(string(b), ":")
	return user
}
