package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/rpc/client"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

// signalWait bounds how long it may take to pass a signal on.
const signalWait = 5 * time.Second

var (
	errDetached = errors.New("detached")
	errGivenUp  = errors.New("given up: there is no connection to the daemon")
	errTimeUp   = errors.New("time limit")
)

// interrupted means that a signal ended the command.
type interrupted struct{ signal syscall.Signal }

func (e *interrupted) Error() string { return "ended by " + unix.SignalName(e.signal) }

// attachment joins this command's input, output, signals and terminal with those of a process in a sandbox.
type attachment struct {
	c       *cli.Context
	daemon  *client.Client
	id      string
	console *console // nil without a terminal
	input   bool     // standard input goes to the process
	timeout time.Duration
	signals chan os.Signal // see [catchSignals]

	process *client.Process
	lost    atomic.Bool // there is no connection
	left    bool        // the user left it running
	missed  int64       // bytes of output that were no longer kept; Receive's alone
	stop    context.CancelCauseFunc
}

// catchSignals keeps signals from ending this process before it has restored the terminal and passed them on.
func catchSignals() (_ chan os.Signal, release func()) {
	ch := make(chan os.Signal, 16)
	signal.Notify(ch, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGWINCH)
	return ch, func() { signal.Stop(ch) }
}

// run calls begin, which starts the process or attaches to it, and returns how it ended.
func (a *attachment) run(ctx context.Context, begin func(context.Context, client.ProcessOptions) (*client.Process, error)) (_ *pb.ProcessExited, err error) {
	ctx, a.stop = context.WithCancelCause(ctx)
	defer a.stop(nil)
	// Input that was on its way when a connection broke may have arrived, or not. A user sees that; a pipe does not.
	o := client.ProcessOptions{Reattach: a.console != nil || !a.input, Lost: a.onLost, Back: a.onBack, Missed: a.onMissed}
	if a.process, err = begin(ctx, o); err != nil {
		return nil, a.cause(ctx, err)
	}
	defer a.process.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer a.stop(nil)
	wg.Go(func() {
		defer a.guard()
		a.passSignals(ctx)
	})
	if a.input {
		in, err := newInput(os.Stdin)
		if err != nil {
			return nil, err
		}
		read := make(chan struct{})
		go func() {
			defer close(read)
			defer a.guard()
			a.passInput(in)
		}()
		defer func() {
			in.stop()
			<-read
			err = errors.Join(err, in.Close())
		}()
	}
	exit, err := a.show()
	return exit, a.cause(ctx, err)
}

// cause is why the command ends, rather than that its context ended.
func (a *attachment) cause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// guard restores the terminal when its goroutine panics.
func (a *attachment) guard() {
	if v := recover(); v != nil {
		if a.console != nil {
			_ = a.console.Close() // the panic is what is told
		}
		panic(v)
	}
}

// say tells the user something about the connection.
func (a *attachment) say(text string) {
	if a.console != nil {
		fmt.Fprint(a.c.App.ErrWriter, rawLine("soulbox: "+text))
		return
	}
	fmt.Fprintln(a.c.App.ErrWriter, "soulbox:", text)
}

func (a *attachment) onLost(error) {
	a.lost.Store(true)
	how := ""
	if a.console != nil {
		how = "; Ctrl-C gives up"
	}
	a.say("the connection to the daemon is lost, attaching again" + how)
}

func (a *attachment) onBack() {
	a.lost.Store(false)
	a.say("attached again")
	a.resize()
}

func (a *attachment) onMissed(n int64) {
	a.missed += n
	a.say(fmt.Sprintf("%s of output are no longer kept", showBytes(n)))
}

// show shows what the process prints until it ends.
func (a *attachment) show() (*pb.ProcessExited, error) {
	for {
		m, err := a.process.Receive()
		if err != nil {
			return nil, err
		}
		to, data := a.c.App.Writer, m.GetStdout()
		switch {
		case m.GetExited() != nil:
			return m.GetExited(), nil
		case len(m.GetTerminal()) > 0:
			data = m.GetTerminal()
		case len(m.GetStderr()) > 0:
			to, data = a.c.App.ErrWriter, m.GetStderr()
		}
		if _, err := to.Write(data); err != nil {
			return nil, fmt.Errorf("show output: %w", err)
		}
	}
}

// passInput sends what is read to the process until in is stopped or ends.
func (a *attachment) passInput(in io.Reader) {
	var keys escape
	buf := make([]byte, 32<<10)
	for {
		n, err := in.Read(buf)
		data := bytes.Clone(buf[:n])
		if a.console != nil {
			left := false
			if a.lost.Load() && bytes.IndexByte(data, keyCtrlC) >= 0 {
				a.stop(errGivenUp)
				return
			}
			if data, left = keys.pass(data); left {
				a.stop(errDetached)
				return
			}
		}
		if len(data) > 0 {
			err = errors.Join(a.send(&pb.StreamExecRequest{Message: &pb.StreamExecRequest_Stdin{Stdin: data}}), err)
		}
		if err != nil {
			if a.console == nil {
				_ = a.send(&pb.StreamExecRequest{Message: &pb.StreamExecRequest_CloseStdin{CloseStdin: true}}) // else Receive says what is wrong
			}
			return
		}
	}
}

// send sends m. On a terminal what is typed without a connection is dropped, as the user sees.
func (a *attachment) send(m *pb.StreamExecRequest) error {
	err := a.process.Send(m)
	if a.console != nil && errors.Is(err, client.ErrLost) {
		return nil
	}
	return err
}

func (a *attachment) resize() {
	if a.console == nil {
		return
	}
	if size := a.console.size(); size != nil {
		_ = a.send(&pb.StreamExecRequest{Message: &pb.StreamExecRequest_Resize{Resize: size}}) // the next one is as good
	}
}

// passSignals passes on what this process is told, and ends the process when its time is up. With a terminal its keys are no signals: one that comes ends the
// command as a terminal that is closed does. Without one a second Ctrl-C ends it, whatever the process does.
func (a *attachment) passSignals(ctx context.Context) {
	told := 0
	var late <-chan time.Time
	if a.timeout > 0 {
		timer := time.NewTimer(a.timeout)
		defer timer.Stop()
		late = timer.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-late:
			a.stop(errTimeUp)
			a.signal(unix.SIGKILL)
		case s := <-a.signals:
			sig, ok := s.(syscall.Signal)
			switch {
			case !ok:
			case sig == unix.SIGWINCH:
				a.resize()
			case a.console != nil:
				a.stop(&interrupted{sig}) // before the process's end is seen
				a.signal(unix.SIGHUP)
			case told > 0:
				a.stop(&interrupted{sig})
			default:
				told++
				a.signal(sig)
			}
		}
	}
}

// signal signals the process's group; one that has ended needs none.
func (a *attachment) signal(s syscall.Signal) {
	ctx, cancel := context.WithTimeout(context.Background(), signalWait)
	defer cancel()
	_, _ = a.daemon.Sandboxes.SignalProcess(ctx, &pb.SignalProcessRequest{Id: a.id, Pid: a.process.PID(), Signal: unix.SignalName(s), Group: true})
}

// exitedStatus is the exit status for a process's end.
func exitedStatus(x *pb.ProcessExited) int {
	if n := signalNumber(x.GetSignal()); n != 0 {
		return 128 + n
	}
	if x.GetExitCode() < 0 {
		return exitKilled
	}
	return int(x.GetExitCode())
}
