package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/rpc/client"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

// removeWait bounds how long the end of a command's own sandbox may take.
const removeWait = 30 * time.Second

const shellDescription = `Without an ID the shell gets a sandbox of its own, which is removed when the shell ends, unless --keep is given or you
leave it with Ctrl-P Ctrl-Q. ID is a sandbox's id, the beginning of one, or a name.

All keys go to the shell, Ctrl-C too. When the connection is lost or the daemon starts again, the shell lives on: the
command attaches to it where its output broke off.

   soulbox shell
   soulbox shell build
   soulbox shell --keep --name build --memory 2G

The exit status is the shell's. 125: SoulBox failed or refused.`

func shellCommand() *cli.Command {
	return &cli.Command{
		Name:        "shell",
		Usage:       "open a shell in a sandbox, or in one of its own",
		ArgsUsage:   "[ID]",
		Description: indented(shellDescription),
		Flags:       clientFlags(append(createFlags(), &cli.BoolFlag{Name: "keep", Usage: "leave the sandbox when the shell ends"})...),
		Action: func(c *cli.Context) error {
			return runFailed(c, checkedShell(c))
		},
	}
}

// checkedShell opens a shell when the command line is right.
func checkedShell(c *cli.Context) error {
	switch {
	case c.NArg() > 1:
		return fmt.Errorf("shell takes one ID at most, got %q; soulbox exec runs programs", c.Args().Slice())
	case !isTerminal(os.Stdin, os.Stdout):
		return errors.New("shell needs a terminal, and standard input or output is none; soulbox exec -i needs none")
	}
	if _, err := createRequest(c); err != nil {
		return err
	}
	return toDaemon(c.Context, c, shell)
}

func shell(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	if c.NArg() == 0 {
		return inOwnSandbox(ctx, c, daemon, c.Bool("keep"), openShell)
	}
	id, err := findSandbox(ctx, daemon, c.Args().First(), false)
	if err != nil {
		return err
	}
	signals, release := catchSignals()
	defer release()
	return openShell(ctx, &attachment{c: c, daemon: daemon, id: id, input: true, signals: signals})
}

// inOwnSandbox makes a sandbox, does something in it and removes it, unless it is to be kept or the user has left
// something running there.
func inOwnSandbox(ctx context.Context, c *cli.Context, daemon *client.Client, keep bool, do func(context.Context, *attachment) error) (err error) {
	making, made := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer made()
	box, err := createSandbox(making, c, daemon)
	if err != nil {
		return err
	}
	a := &attachment{c: c, daemon: daemon, id: box.GetId(), input: true}
	defer func() {
		if keep || a.left {
			fmt.Fprintf(c.App.ErrWriter, "soulbox: sandbox %s is kept; soulbox sandbox rm %s removes it\n", a.id, a.id)
			return
		}
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeWait)
		defer cancel()
		if _, bad := daemon.Sandboxes.DeleteSandbox(end, &pb.DeleteSandboxRequest{Id: a.id}); bad != nil {
			fmt.Fprintf(c.App.ErrWriter, "soulbox: remove sandbox %s: %s\n", a.id, client.Explain(bad))
		}
	}()
	var release func()
	a.signals, release = catchSignals()
	defer release()
	made()
	if making.Err() != nil && ctx.Err() == nil && len(a.signals) > 0 {
		return context.Canceled
	}
	return do(ctx, a)
}

// openShell runs the user's shell: bash where there is one.
func openShell(ctx context.Context, a *attachment) error {
	start := &pb.StartProcess{Id: a.id, Env: map[string]string{}, Args: []string{"/bin/bash"}}
	if f, err := a.daemon.Sandboxes.StatFile(ctx, &pb.StatFileRequest{Id: a.id, Path: "/bin/bash"}); err != nil || f.GetMode()&0o111 == 0 {
		start.Args, start.Shell = nil, `exec "${SHELL:-/bin/sh}"`
	}
	return a.program(ctx, start, true)
}

func attachCommand() *cli.Command {
	return &cli.Command{
		Name:      "attach",
		Usage:     "take up a process that runs in a sandbox",
		ArgsUsage: "ID PID",
		Description: indented(`The PID is one of soulbox top. A process on a terminal gets this one, as with soulbox exec -t; of another one the output that
is kept is shown first, and standard input goes to it when -i is given.

   soulbox attach build 17
   soulbox attach --history build 17

The exit status is the process's; 0 after Ctrl-P Ctrl-Q; 125: SoulBox failed or refused.`),
		Flags: clientFlags(
			&cli.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "standard input goes to the process"},
			&cli.BoolFlag{Name: "history", Usage: "show what is kept of a terminal's output first"},
		),
		Action: func(c *cli.Context) error {
			if _, err := attachPID(c); err != nil {
				return runFailed(c, err)
			}
			return runFailed(c, toDaemon(c.Context, c, attach))
		},
	}
}

func attachPID(c *cli.Context) (uint32, error) {
	if c.NArg() != 2 {
		return 0, errors.New("attach takes the ID of a sandbox and a PID; see soulbox attach --help")
	}
	pid, err := strconv.ParseUint(c.Args().Get(1), 10, 32)
	if err != nil || pid == 0 {
		return 0, fmt.Errorf("%q is no PID; soulbox top shows them", c.Args().Get(1))
	}
	return uint32(pid), nil
}

func attach(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	pid, err := attachPID(c)
	if err != nil {
		return err
	}
	id, err := findSandbox(ctx, daemon, c.Args().First(), false)
	if err != nil {
		return err
	}
	list, err := daemon.Sandboxes.ListProcesses(ctx, &pb.ListProcessesRequest{Id: id})
	if err != nil {
		return err
	}
	signals, release := catchSignals()
	defer release()
	for _, p := range list.GetProcesses() {
		if p.GetPid() == pid {
			a := &attachment{c: c, daemon: daemon, id: id, input: c.Bool("interactive"), signals: signals}
			return a.attach(ctx, p, c.Bool("history"))
		}
	}
	return fmt.Errorf("sandbox %s has no process %d that was started by request; soulbox top %s shows them", id, pid, id)
}

// attach takes up p.
func (a *attachment) attach(ctx context.Context, p *pb.Process, history bool) (err error) {
	at := &pb.AttachProcess{Id: a.id, Pid: p.GetPid(), Offset: p.GetKeptFrom()}
	if p.GetTerminal() {
		if !isTerminal(os.Stdin, os.Stdout) {
			return fmt.Errorf("process %d has a terminal, and standard input or output is none", p.GetPid())
		}
		if a.console, err = openConsole(os.Stdin, os.Stdout); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, a.console.Close()) }()
		defer a.guard()
		a.input = true
		if !history {
			at.Offset = p.GetPrintedBytes()
		}
	}
	exit, err := a.run(ctx, func(ctx context.Context, o client.ProcessOptions) (*client.Process, error) {
		process, err := a.daemon.Attach(ctx, at, o)
		if err == nil && a.console != nil {
			a.redraw(process)
		}
		return process, err
	})
	return a.outcome(exit, err)
}

// redraw makes programs draw their terminal anew: they do when its size changes.
func (a *attachment) redraw(p *client.Process) {
	size := a.console.size()
	if size == nil {
		return
	}
	for _, rows := range []uint32{size.GetRows() + 1, size.GetRows()} {
		// A connection that is lost meanwhile is made again, with the size.
		_ = p.Send(&pb.StreamExecRequest{Message: &pb.StreamExecRequest_Resize{Resize: &pb.TerminalSize{Columns: size.GetColumns(), Rows: rows}}})
	}
}
