package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
)

const (
	// lateOutput is how long after a process's end its followers wait for output of what it left running.
	lateOutput = 100 * time.Millisecond
	// inputWithin bounds how long a write to a process that does not read may wait, beside its caller's patience.
	inputWithin = time.Minute
)

// process is what was started in a session. It lives on without those who follow it.
type process struct {
	pid      int32
	config   *agentpb.ProcessConfig
	user     string
	tag      string
	terminal bool
	started  time.Time
	output   *transcript
	reports  *awaited
	outputs  []*os.File // what readers read
	readers  sync.WaitGroup

	ended chan struct{} // closed once exit is set
	exit  report        // how it ended
	quiet chan struct{} // closed when followers need not wait for more output

	mu    sync.Mutex
	input *os.File // stdin's pipe or the terminal; nil once closed
}

var (
	errNoTerminal = errors.New("the process has no terminal")
	errTerminal   = errors.New("the process has a terminal: use its input, and ^D in place of closing it")
	errNoInput    = errors.New("the process's standard input is closed")
)

// write gives a process input. It waits while the process reads none, until ctx ends.
func (p *process) write(ctx context.Context, data []byte, terminal bool) error {
	switch {
	case p.terminal && !terminal:
		return errTerminal
	case !p.terminal && terminal:
		return errNoTerminal
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.input == nil {
		return errNoInput
	}
	input := p.input
	stop := context.AfterFunc(ctx, func() { _ = input.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	for part := range slices.Chunk(data, chunkSize) {
		if err := context.Cause(ctx); err != nil {
			return fmt.Errorf("write to process %d: %w", p.pid, err)
		}
		err := input.SetWriteDeadline(time.Now().Add(inputWithin))
		if err == nil {
			_, err = input.Write(part)
		}
		if err != nil {
			return fmt.Errorf("write to process %d: %w", p.pid, errors.Join(err, context.Cause(ctx)))
		}
	}
	return nil
}

// feed gives the process its first input, and closes it unless it stays open. What it does not read is lost with it.
func (p *process) feed(input []byte, open bool) {
	if len(input) > 0 {
		_ = p.write(context.Background(), input, p.terminal)
	}
	if !open && !p.terminal {
		_ = p.closeInput()
	}
}

// stopReading ends the readers although somebody outside the slot still holds the other ends.
func (p *process) stopReading() {
	for _, f := range p.outputs {
		_ = f.SetReadDeadline(time.Unix(1, 0)) // closed already: nothing to wake
	}
}

// closeInput ends standard input.
func (p *process) closeInput() error {
	if p.terminal {
		return errTerminal
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dropInputLocked()
}

func (p *process) dropInputLocked() error {
	if p.input == nil {
		return nil
	}
	err := p.input.Close()
	p.input = nil
	if err != nil {
		return fmt.Errorf("close the input of process %d: %w", p.pid, err)
	}
	return nil
}

// resize gives the terminal a size.
func (p *process) resize(size *agentpb.PTY_Size) error {
	if !p.terminal {
		return errNoTerminal
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.input == nil {
		return errNoInput
	}
	return setSize(p.input, size)
}

// read fills the transcript from one of the process's outputs until that ends.
func (p *process) read(f *os.File, from stream) {
	for {
		buf := make([]byte, chunkSize)
		n, err := f.Read(buf)
		if n > 0 {
			p.output.append(from, buf[:n:n])
		}
		if err != nil { // the end; for a terminal EIO
			return
		}
	}
}

// follow calls send for all that the process prints from offset on, until it has ended. idle, when not nil, is called
// after every silence of the given length.
func (p *process) follow(ctx context.Context, f *follower, silence time.Duration, send func(piece) error, idle func() error) error {
	defer f.close()
	for {
		read, cancel := context.WithTimeout(ctx, silence)
		out, err := f.read(read, p.quiet)
		cancel()
		switch {
		case errors.Is(err, io.EOF):
			select {
			case <-p.ended:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(silence): // it closed its output and lives on
				err = idle()
			}
		case err == nil:
			err = send(out)
		case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
			err = idle()
		}
		if err != nil {
			return err
		}
	}
}

// endEvent is how a process ended, as envd tells it.
func (p *process) endEvent() *agentpb.ProcessEvent_EndEvent {
	s := p.exit.status
	if s.Signaled() {
		text := "signal: " + s.Signal().String()
		return &agentpb.ProcessEvent_EndEvent{ExitCode: -1, Status: text, Error: &text}
	}
	text := fmt.Sprintf("exit status %d", s.ExitStatus())
	e := &agentpb.ProcessEvent_EndEvent{ExitCode: int32(s.ExitStatus()), Exited: true, Status: text}
	if s.ExitStatus() != 0 {
		e.Error = &text
	}
	return e
}

// endedMessage is how a process ended, as the daemon is told.
func (p *process) endedMessage() *agentpb.Ended {
	r := p.exit
	return &agentpb.Ended{WaitStatus: uint32(r.status), UserNanos: int64(r.user), SystemNanos: int64(r.system),
		WallNanos: int64(r.at.Sub(p.started)), MaxRssBytes: r.maxRSS}
}

// stdio is what a process is started with, and our ends of it.
type stdio struct {
	theirs []*os.File // three
	input  *os.File
	read   []*os.File // stdout and stderr, or the terminal
}

// pipes makes stdio of three pipes.
func pipes(uid, gid uint32) (stdio, error) {
	ours, theirs, err := makePipes(int(uid), int(gid))
	if err != nil {
		return stdio{}, err
	}
	return stdio{theirs: theirs, input: ours[0], read: ours[1:]}, nil
}

// setSize sets a terminal's size; 80 columns and 24 rows where none is given.
func setSize(f *os.File, size *agentpb.PTY_Size) error {
	w := unix.Winsize{Col: uint16(min(size.GetCols(), 1<<16-1)), Row: uint16(min(size.GetRows(), 1<<16-1))}
	if w.Col == 0 || w.Row == 0 {
		w = unix.Winsize{Col: 80, Row: 24}
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("size terminal: %w", err)
	}
	var errno error
	if err := raw.Control(func(fd uintptr) { errno = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &w) }); err != nil {
		return fmt.Errorf("size terminal: %w", err)
	}
	if errno != nil {
		return fmt.Errorf("size terminal: %w", errno)
	}
	return nil
}

// killedReport is the end of a process whose slot ended first.
func killedReport() report {
	return report{kind: msgExited, status: unix.WaitStatus(syscall.SIGKILL), at: time.Now()}
}
