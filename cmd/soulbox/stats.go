package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/rpc/client"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

// statsPause lies between two looks at what sandboxes use.
const statsPause = time.Second

// clearScreen moves to the top left and clears what is there.
const clearScreen = "\x1b[H\x1b[J"

func statsCommand() *cli.Command {
	return &cli.Command{
		Name:      "stats",
		Usage:     "show what sandboxes use, again and again",
		ArgsUsage: "[ID...]",
		Description: indented(`Without IDs, of all that run. CPU is of one processor: with two busy ones it is 200 %. It goes on until Ctrl-C, or until
none of them runs.

   soulbox stats
   soulbox stats --no-stream build
   soulbox stats --json build | jq .memoryBytes`),
		Flags: clientFlags(
			&cli.BoolFlag{Name: "no-stream", Usage: "look once"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON, a line for each sandbox and look"},
		),
		Action: withDaemon(stats),
	}
}

// sandboxUse is what a sandbox used at a look, and at the one before.
type sandboxUse struct {
	id, name    string
	last, state *pb.SandboxStats // nil: none
}

func stats(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	given, err := findSandboxes(ctx, daemon, c.Args().Slice(), false)
	if err != nil {
		return err
	}
	known := map[string]*sandboxUse{}
	for look := 0; ; look++ {
		list, err := listSandboxes(ctx, daemon, &pb.ListSandboxesRequest{State: pb.SandboxState_SANDBOX_STATE_RUNNING})
		if err != nil {
			return quietly(ctx, err)
		}
		list = slices.DeleteFunc(list, func(s *pb.Sandbox) bool { return len(given) > 0 && !slices.Contains(given, s.GetId()) })
		if len(given) > 0 && len(list) == 0 {
			if look == 0 {
				return errors.New("none of these sandboxes runs")
			}
			return nil
		}
		rows := measure(ctx, daemon, known, list)
		// Two looks make the first that shows how busy they are.
		if look > 0 {
			if err := showStats(c, rows); err != nil {
				return err
			}
		}
		if look > 0 && c.Bool("no-stream") {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(statsPause):
		}
	}
}

// quietly takes away the error of a command that the user ended.
func quietly(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// measure looks at all of list at once. One that ends meanwhile has nothing to show.
func measure(ctx context.Context, daemon *client.Client, known map[string]*sandboxUse, list []*pb.Sandbox) []*sandboxUse {
	var wg sync.WaitGroup
	rows := make([]*sandboxUse, 0, len(list))
	for _, s := range list {
		u := known[s.GetId()]
		if u == nil {
			u = &sandboxUse{id: s.GetId(), name: s.GetLabels()[nameLabel]}
			known[s.GetId()] = u
		}
		rows = append(rows, u)
		wg.Go(func() {
			now, err := daemon.Sandboxes.GetStats(ctx, &pb.GetStatsRequest{Id: u.id})
			if u.last = u.state; err != nil {
				now = nil
			}
			u.state = now
		})
	}
	wg.Wait()
	return slices.DeleteFunc(rows, func(u *sandboxUse) bool { return u.state == nil })
}

func showStats(c *cli.Context, rows []*sandboxUse) error {
	if c.Bool("json") {
		for _, u := range rows {
			b, err := marshalMessage(u.state)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(c.App.Writer, "{\"id\":%q,%s\n", u.id, bytes.TrimPrefix(b, []byte("{"))); err != nil {
				return fmt.Errorf("print JSON: %w", err)
			}
		}
		return nil
	}
	if f, ok := c.App.Writer.(*os.File); ok && isTerminal(f) && !c.Bool("no-stream") {
		if _, err := io.WriteString(f, clearScreen); err != nil {
			return fmt.Errorf("print table: %w", err)
		}
	}
	table := make([][]string, 0, len(rows))
	for _, u := range rows {
		s := u.state
		table = append(table, []string{u.id, u.name, u.cpu(), showBytes(s.GetMemoryBytes()) + " / " + showBytes(s.GetMemoryLimitBytes()),
			percent(float64(s.GetMemoryBytes()), float64(s.GetMemoryLimitBytes())), fmt.Sprint(s.GetProcesses()), showBytes(s.GetDiskBytes())})
	}
	return printTable(c.App.Writer, painterOf(c, c.App.Writer), []string{"ID", "NAME", "CPU", "MEMORY / LIMIT", "MEMORY", "PROCESSES", "DISK"}, table)
}

// cpu is how busy the sandbox was between two looks.
func (u *sandboxUse) cpu() string {
	if u.last == nil {
		return "-"
	}
	busy := func(s *pb.SandboxStats) time.Duration {
		return s.GetUserTime().AsDuration() + s.GetSystemTime().AsDuration()
	}
	return percent(float64(busy(u.state)-busy(u.last)), float64(u.state.GetAt().AsTime().Sub(u.last.GetAt().AsTime())))
}

func percent(part, whole float64) string {
	if whole <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", max(0, part/whole*100))
}

func topCommand() *cli.Command {
	return &cli.Command{
		Name:      "top",
		Usage:     "list the processes that were started in a sandbox by request",
		ArgsUsage: "ID",
		Description: indented(`What these started themselves is not listed: soulbox exec ID ps -ef shows it, where the sandbox has ps.

   soulbox top build
   soulbox top -a build`),
		Flags: clientFlags(&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "those too that ended a while ago"}, jsonFlag()),
		Action: func(c *cli.Context) error {
			if _, err := oneArg(c, "sandbox ID"); err != nil {
				return err
			}
			return withDaemon(top)(c)
		},
	}
}

func top(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	id, err := findSandbox(ctx, daemon, c.Args().First(), false)
	if err != nil {
		return err
	}
	list, err := daemon.Sandboxes.ListProcesses(ctx, &pb.ListProcessesRequest{Id: id})
	if err != nil {
		return err
	}
	if !c.Bool("all") {
		list.Processes = slices.DeleteFunc(list.GetProcesses(), hasExited)
	}
	if c.Bool("json") {
		return printMessage(c.App.Writer, list)
	}
	now := time.Now()
	rows := make([][]string, 0, len(list.GetProcesses()))
	for _, p := range list.GetProcesses() {
		rows = append(rows, topRow(p, now))
	}
	return printTable(c.App.Writer, painterOf(c, c.App.Writer), []string{"PID", "USER", "TTY", "AGE", "PRINTED", "STATE", "COMMAND"}, rows)
}

func topRow(p *pb.Process, now time.Time) []string {
	tty, state := "-", "running"
	if p.GetTerminal() {
		tty = "yes"
	}
	if x := p.GetExited(); x != nil {
		state = fmt.Sprintf("exit %d", x.GetExitCode())
		if x.GetSignal() != "" {
			state = x.GetSignal()
		}
	}
	return []string{fmt.Sprint(p.GetPid()), p.GetUser(), tty, showAge(p.GetStartedAt(), now), showBytes(p.GetPrintedBytes()), state, commandLine(p.GetArgs())}
}

func watchCommand() *cli.Command {
	return &cli.Command{
		Name:      "watch",
		Usage:     "tell what changes in a directory of a sandbox, as it happens",
		ArgsUsage: "ID PATH",
		Description: indented(`A line for each change: what happened, and to which file. It goes on until Ctrl-C.

   soulbox watch -r build /home/user/src
   soulbox watch --json build . | jq -r .name`),
		Flags: clientFlags(
			&cli.BoolFlag{Name: "recursive", Aliases: []string{"r"}, Usage: "with all directories below"},
			&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "`USER` whose rights count, by name or id (default: the sandbox's)"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON, a line for each change"},
		),
		Action: func(c *cli.Context) error {
			if c.NArg() != 2 {
				return fmt.Errorf("watch takes an ID and a PATH, got %q; see soulbox watch --help", c.Args().Slice())
			}
			return withDaemon(watch)(c)
		},
	}
}

func watch(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	id, err := findSandbox(ctx, daemon, c.Args().First(), false)
	if err != nil {
		return err
	}
	events, err := daemon.Sandboxes.WatchFiles(ctx, &pb.WatchFilesRequest{Id: id, Path: c.Args().Get(1), User: c.String("user"), Recursive: c.Bool("recursive")})
	if err != nil {
		return err
	}
	defer events.Close() // what is left of the stream is of no interest
	for events.Receive() {
		ev := events.Msg()
		kind := enumName(ev.GetType().String(), "FILE_EVENT_TYPE_")
		switch {
		case ev.GetType() == pb.FileEventType_FILE_EVENT_TYPE_IDLE:
			continue
		case c.Bool("json"):
			b, err := marshalMessage(ev)
			if err == nil {
				_, err = fmt.Fprintf(c.App.Writer, "%s\n", b)
			}
			if err != nil {
				return fmt.Errorf("print JSON: %w", err)
			}
			continue
		case ev.GetType() == pb.FileEventType_FILE_EVENT_TYPE_STARTED:
			fmt.Fprintln(c.App.ErrWriter, "soulbox: watching")
			continue
		}
		if err := printLine(c.App.Writer, fmt.Sprintf("%-6s  %s", kind, ev.GetName())); err != nil {
			return err
		}
	}
	return quietly(ctx, events.Err())
}
