package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/soulbox/soulbox/rpc/client"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

// stopPoll is how often it is looked whether the processes of a sandbox have ended.
const stopPoll = 100 * time.Millisecond

// eachSandbox makes the action of a command that does the same with every sandbox it is given, prints the id of each
// with which that went well, and goes on after one with which it did not.
func eachSandbox(ended bool, do func(ctx context.Context, c *cli.Context, daemon *client.Client, id string) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := someArgs(c, "ID"); err != nil {
			return err
		}
		return withDaemon(func(ctx context.Context, c *cli.Context, daemon *client.Client) error {
			ids, err := findSandboxes(ctx, daemon, c.Args().Slice(), ended)
			if err != nil {
				return err
			}
			var errs []error
			for _, id := range ids {
				if err := do(ctx, c, daemon, id); err != nil {
					errs = append(errs, aboutSandbox(id, err))
				} else if err := printLine(c.App.Writer, id); err != nil {
					return err
				}
			}
			return errors.Join(errs...)
		})(c)
	}
}

// aboutSandbox puts a sandbox's id before what went wrong with it.
func aboutSandbox(id string, err error) error {
	if err == nil {
		return nil
	}
	return &failure{printable(id) + ": " + client.Explain(err), err}
}

func sandboxRemoveCommand() *cli.Command {
	return &cli.Command{
		Name:      "rm",
		Aliases:   []string{"delete", "kill"},
		Usage:     "end sandboxes at once, with all that is in them",
		ArgsUsage: "ID...",
		Description: "An ID can be a name, or the beginning of an id when only one begins so. What is left is the record, in list -a.\n\n" +
			"   soulbox sandbox rm build\n" +
			"   soulbox sandbox rm $(soulbox sandbox list -q)",
		Flags: clientFlags(),
		Action: eachSandbox(true, func(ctx context.Context, _ *cli.Context, daemon *client.Client, id string) error {
			_, err := daemon.Sandboxes.DeleteSandbox(ctx, &pb.DeleteSandboxRequest{Id: id})
			return err
		}),
	}
}

func sandboxStopCommand() *cli.Command {
	return &cli.Command{
		Name:      "stop",
		Usage:     "end sandboxes, after asking their processes to end",
		ArgsUsage: "ID...",
		Description: "Processes get SIGTERM, and --time to end; then the sandbox ends as with rm.\n\n" +
			"   soulbox sandbox stop build\n" +
			"   soulbox sandbox stop --time 1m build",
		Flags:  clientFlags(&cli.DurationFlag{Name: "time", Aliases: []string{"t"}, Value: 10 * time.Second, Usage: "`TIME` that processes are granted"}),
		Action: eachSandbox(false, sandboxStop),
	}
}

func sandboxStop(ctx context.Context, c *cli.Context, daemon *client.Client, id string) error {
	if err := endProcesses(ctx, daemon, id, c.Duration("time")); err != nil {
		return err
	}
	_, err := daemon.Sandboxes.DeleteSandbox(ctx, &pb.DeleteSandboxRequest{Id: id})
	return err
}

// endProcesses sends SIGTERM to what was started in a sandbox and waits until it has ended, or until time is up. A
// paused sandbox has nothing that could end.
func endProcesses(ctx context.Context, daemon *client.Client, id string, grace time.Duration) error {
	box, err := daemon.Sandboxes.GetSandbox(ctx, &pb.GetSandboxRequest{Id: id})
	if err != nil || box.GetState() != pb.SandboxState_SANDBOX_STATE_RUNNING {
		return err
	}
	running, err := runningProcesses(ctx, daemon, id)
	if err != nil {
		return err
	}
	for _, p := range running {
		// One that has ended meanwhile is what was wanted.
		_, _ = daemon.Sandboxes.SignalProcess(ctx, &pb.SignalProcessRequest{Id: id, Pid: p.GetPid(), Signal: "SIGTERM", Group: true})
	}
	late := time.After(grace)
	tick := time.NewTicker(stopPoll)
	defer tick.Stop()
	for len(running) > 0 {
		select {
		case <-late:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if running, err = runningProcesses(ctx, daemon, id); err != nil {
			return err
		}
	}
	return nil
}

func runningProcesses(ctx context.Context, daemon *client.Client, id string) ([]*pb.Process, error) {
	list, err := daemon.Sandboxes.ListProcesses(ctx, &pb.ListProcessesRequest{Id: id})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.GetProcesses(), hasExited), nil
}

func hasExited(p *pb.Process) bool { return p.GetExited() != nil }

func sandboxPauseCommand() *cli.Command {
	return &cli.Command{
		Name:      "pause",
		Usage:     "stop all processes of sandboxes where they are",
		ArgsUsage: "ID...",
		Description: "They keep their memory, and their time does not count until they are resumed.\n\n" +
			"   soulbox sandbox pause build",
		Flags: clientFlags(),
		Action: eachSandbox(false, func(ctx context.Context, _ *cli.Context, daemon *client.Client, id string) error {
			_, err := daemon.Sandboxes.PauseSandbox(ctx, &pb.PauseSandboxRequest{Id: id})
			return err
		}),
	}
}

func sandboxResumeCommand() *cli.Command {
	return &cli.Command{
		Name:        "resume",
		Aliases:     []string{"unpause"},
		Usage:       "let paused sandboxes go on",
		ArgsUsage:   "ID...",
		Description: "They have the time that was left when they were paused, or --timeout from now on.\n\n   soulbox sandbox resume --timeout 1h build",
		Flags:       clientFlags(&cli.DurationFlag{Name: "timeout", Usage: "`TIME` that they live from now on; 0 is for ever (default: what was left)"}),
		Action: eachSandbox(false, func(ctx context.Context, c *cli.Context, daemon *client.Client, id string) error {
			req := &pb.ResumeSandboxRequest{Id: id}
			if c.IsSet("timeout") {
				req.Timeout = durationpb.New(c.Duration("timeout"))
			}
			_, err := daemon.Sandboxes.ResumeSandbox(ctx, req)
			return err
		}),
	}
}

func sandboxTimeoutCommand() *cli.Command {
	return &cli.Command{
		Name:        "timeout",
		Usage:       "let a sandbox live for a time from now on",
		ArgsUsage:   "ID TIME",
		Description: "Longer or shorter than it would. 0 is for ever, where the operator allows it.\n\n   soulbox sandbox timeout build 30m",
		Flags:       clientFlags(),
		Action: func(c *cli.Context) error {
			if _, err := timeoutArgs(c); err != nil {
				return err
			}
			return withDaemon(sandboxTimeout)(c)
		},
	}
}

func timeoutArgs(c *cli.Context) (time.Duration, error) {
	if c.NArg() != 2 {
		return 0, fmt.Errorf("%s takes an ID and a TIME, got %q; see %s --help", c.Command.HelpName, c.Args().Slice(), c.Command.HelpName)
	}
	d, err := time.ParseDuration(c.Args().Get(1))
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a time such as 30m, 2h or 0", c.Args().Get(1))
	}
	return d, nil
}

func sandboxTimeout(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	d, err := timeoutArgs(c)
	if err != nil {
		return err
	}
	id, err := findSandbox(ctx, daemon, c.Args().First(), false)
	if err != nil {
		return err
	}
	if _, err := daemon.Sandboxes.SetTimeout(ctx, &pb.SetTimeoutRequest{Id: id, Timeout: durationpb.New(d)}); err != nil {
		return err
	}
	return printLine(c.App.Writer, id)
}

func sandboxLogsCommand() *cli.Command {
	return &cli.Command{
		Name:        "logs",
		Usage:       "show what happened to a sandbox, one that has ended too",
		ArgsUsage:   "ID",
		Description: "What programs print is not in it: soulbox attach shows that.\n\n   soulbox sandbox logs build\n   soulbox sandbox logs -n 5 build",
		Flags: clientFlags(&cli.UintFlag{Name: "tail", Aliases: []string{"n"}, Value: 100, Usage: "the newest `NUMBER` of entries, at most 1000"},
			jsonFlag()),
		Action: func(c *cli.Context) error {
			if _, err := oneArg(c, "sandbox ID"); err != nil {
				return err
			}
			return withDaemon(sandboxLogs)(c)
		},
	}
}

func sandboxLogs(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	id, err := findSandbox(ctx, daemon, c.Args().First(), false)
	if err != nil {
		return err
	}
	logs, err := daemon.Sandboxes.GetLogs(ctx, &pb.GetLogsRequest{Id: id, Limit: int32(min(c.Uint("tail"), 1000))})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printMessage(c.App.Writer, logs)
	}
	for _, e := range logs.GetEntries() {
		line := fmt.Sprintf("%s  %-4s  %s", e.GetAt().AsTime().Local().Format(time.DateTime), enumName(e.GetLevel().String(), "LOG_LEVEL_"), e.GetMessage())
		if err := printLine(c.App.Writer, line); err != nil {
			return err
		}
	}
	return nil
}
