package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/rpc/client"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

const execDescription = `ID is a sandbox's id, the beginning of one, or a name. Output appears as the program prints it.

Without a COMMAND it is that of the sandbox's image, entrypoint and arguments; with one, the image's entrypoint has no part
in it.

With -t the program has a terminal: keys go to it, Ctrl-C too, Ctrl-P Ctrl-Q leaves it running (soulbox attach takes it
up again), and a lost connection is made again. Without -t Ctrl-C is passed on as SIGINT, and a second one ends it.

   soulbox exec build make -j2
   soulbox exec -it build python3
   tar c . | soulbox exec -i build tar x
   soulbox exec -d build ./server

The exit status is the program's. 128+N: killed by signal N. 124: --timeout. 125: SoulBox failed or refused.`

func execCommand() *cli.Command {
	return &cli.Command{
		Name:        "exec",
		Usage:       "run a program in a sandbox",
		ArgsUsage:   "ID [COMMAND [ARGS...]]",
		Description: indented(execDescription),
		Flags: clientFlags(
			&cli.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "standard input goes to the program"},
			&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "the program has a terminal"},
			&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "leave it running and print its pid"},
			&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "`K=V` in the program's environment; repeatable"},
			&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "`USER` who runs it, by name or id (default: the sandbox's)"},
			&cli.StringFlag{Name: "workdir", Aliases: []string{"w"}, Usage: "`DIR` where it begins (default: the sandbox's)"},
			&cli.DurationFlag{Name: "timeout", Usage: "`TIME` after which it is killed"},
		),
		Action: func(c *cli.Context) error {
			if err := checkExec(c); err != nil {
				return runFailed(c, err)
			}
			return runFailed(c, toDaemon(c.Context, c, execIn))
		},
	}
}

func checkExec(c *cli.Context) error {
	_, err := pairs(c, "env")
	switch {
	case c.NArg() == 0:
		return errors.New("exec takes the ID of a sandbox and a COMMAND; see soulbox exec --help")
	case c.Bool("detach") && (c.Bool("interactive") || c.Bool("tty")):
		return errors.New("-d leaves the program alone: it cannot be used with -i or -t")
	case c.Bool("detach") && c.IsSet("timeout"):
		return errors.New("nobody watches a program that is left with -d: it cannot be used with --timeout")
	case c.Bool("tty") && !isTerminal(os.Stdin, os.Stdout):
		return errors.New("-t needs a terminal, and standard input or output is none")
	}
	return errors.Join(err, positive(c, "timeout"))
}

// execArgs are the program and its arguments.
func execArgs(c *cli.Context) []string {
	args := c.Args().Tail()
	if len(args) > 1 && args[0] == "--" {
		args = args[1:]
	}
	return args
}

func execIn(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	id, err := findSandbox(ctx, daemon, c.Args().First(), false)
	if err != nil {
		return err
	}
	env, err := pairs(c, "env")
	if err != nil {
		return err
	}
	if c.Bool("detach") {
		x, err := daemon.Sandboxes.Exec(ctx, &pb.ExecRequest{Id: id, Args: execArgs(c), Env: env, User: c.String("user"), Workdir: c.String("workdir"), Detach: true})
		if err != nil {
			return err
		}
		return printLine(c.App.Writer, fmt.Sprint(x.GetPid()))
	}
	signals, release := catchSignals()
	defer release()
	a := &attachment{c: c, daemon: daemon, id: id, input: c.Bool("interactive"), timeout: c.Duration("timeout"), signals: signals}
	return a.program(ctx, &pb.StartProcess{Id: id, Args: execArgs(c), Env: env, User: c.String("user"), Workdir: c.String("workdir"), Stdin: a.input},
		c.Bool("tty"))
}

// program starts a program, on the user's terminal when terminal is set, and returns what its end means for the command.
func (a *attachment) program(ctx context.Context, start *pb.StartProcess, terminal bool) (err error) {
	if terminal {
		if a.console, err = openConsole(os.Stdin, os.Stdout); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, a.console.Close()) }()
		defer a.guard()
		start.Keep, start.Terminal, start.Stdin = true, a.console.size(), true
		if start.Terminal == nil {
			start.Terminal = &pb.TerminalSize{}
		}
		if name := os.Getenv("TERM"); name != "" && start.GetEnv()["TERM"] == "" {
			start.Env["TERM"] = name
		}
	}
	exit, err := a.run(ctx, func(ctx context.Context, o client.ProcessOptions) (*client.Process, error) {
		return a.daemon.Start(ctx, start, o)
	})
	return a.outcome(exit, err)
}

// outcome makes the command's end of the process's: nothing, an exit status, or an error.
func (a *attachment) outcome(exit *pb.ProcessExited, err error) error {
	signalled, isSignal := errors.AsType[*interrupted](err)
	switch {
	case errors.Is(err, errDetached):
		a.left = true
		a.say(fmt.Sprintf("detached; soulbox attach %s %d takes it up again", a.id, a.process.PID()))
		return nil
	case errors.Is(err, errTimeUp):
		a.say(painterOf(a.c, a.c.App.ErrWriter).paint(doubtful, fmt.Sprintf("time limit: stopped after %s (--timeout)", a.timeout)))
		return exitStatus(exitTime)
	case isSignal:
		return exitStatus(128 + int(signalled.signal))
	case err != nil:
		return err
	case a.missed > 0 && a.console == nil:
		return exitStatus(exitFailed) // a pipe does not see what was said
	}
	if status := exitedStatus(exit); status != 0 {
		return exitStatus(status)
	}
	return nil
}
