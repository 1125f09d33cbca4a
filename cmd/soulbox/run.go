package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/images"
	"github.com/soulbox/soulbox/rpc/client"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/sandbox/wide"
)

// The exit statuses of `soulbox run` that are not the program's own.
const (
	exitCompile   = 2   // it did not compile
	exitTime      = 124 // as timeout(1)
	exitFailed    = 125 // SoulBox failed, or refused
	exitCancelled = 130 // as after Ctrl-C
	exitKilled    = 137 // 128 + SIGKILL: memory or output limit
)

const runDescription = `FILE is the program, "-" takes it from standard input. What follows FILE are the program's arguments. Its language is that
of -l, else of FILE's extension, else of its #! line, else of its text when that is clear. Standard input goes to the program unless it is a terminal. Output appears as the program prints it.

   soulbox run main.py
   echo 'print(1)' | soulbox run -l python -
   curl -s https://example.org/script | soulbox run -
   soulbox run --timeout 2s --memory 64M a.cpp < input
   soulbox run -l python

With -l, no FILE and a terminal, the language's interactive interpreter runs there, in a sandbox of a daemon that is removed
afterwards.

A daemon that answers on this machine, or at --url, runs the program; without one, this command does.

The exit status is the program's. 128+N: killed by signal N. 124: time or CPU limit. 137: memory or output limit, or killed.
2: it did not compile. 125: SoulBox failed or refused. 130: cancelled with Ctrl-C.
A limit that was hit is said in one line on standard error.`

func runCommand(session *wide.Session) *cli.Command {
	return &cli.Command{
		Name:        "run",
		Usage:       "run one program and show what it prints",
		ArgsUsage:   "[FILE|- [ARGS...]]",
		Description: indented(runDescription),
		Flags: localFlags(
			&cli.StringFlag{Name: "language", DefaultText: images.Auto, Aliases: []string{"l"}, Usage: "`NAME` of the language; auto detects it"},
			&cli.StringFlag{Name: "image", Usage: "`IMAGE` that the language is in (default: the programs of the daemon's host)"},
			&cli.DurationFlag{Name: "timeout", Aliases: []string{"t"}, Usage: "wall `TIME`, such as 2s (default: the language's)"},
			&cli.DurationFlag{Name: "cpu", Usage: "CPU `TIME` of the program and all that it starts"},
			&cli.StringFlag{Name: "memory", Aliases: []string{"m"}, Usage: "`SIZE`, such as 64M, at least 4M; files that the program writes count"},
			&cli.UintFlag{Name: "processes", Usage: "`NUMBER` of processes and threads at once"},
			runtimeFlag(),
			&cli.StringFlag{Name: "output-limit", Usage: "`SIZE` of standard output and error together"},
			&cli.PathFlag{Name: "stdin", Usage: "`FILE` that is the program's standard input"},
			&cli.StringSliceFlag{Name: "file", Aliases: []string{"f"}, Usage: "one more `FILE` for the work directory, or NAME=FILE; repeatable"},
			&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "`K=V` in the program's environment; repeatable"},
			&cli.StringSliceFlag{Name: "output", Aliases: []string{"o"}, Usage: "`PATH` in the work directory to copy here afterwards; repeatable"},
			&cli.BoolFlag{Name: "json", Usage: "print the whole result as JSON instead of the program's output"},
		),
		Action: func(c *cli.Context) error {
			// Wrong usage must be said before anything is started, and only once: not inside again.
			if session == nil && isInteractive(c) {
				return runFailed(c, runInteractive(c))
			}
			if session == nil {
				if err := checkRun(c); err != nil {
					return runFailed(c, err)
				}
			}
			return runFailed(c, withDaemonOrLocal(session, run)(c))
		},
	}
}

// runFailed prints an error that is not the program's and gives it the status that no verdict has.
func runFailed(c *cli.Context, err error) error {
	if err == nil {
		return nil
	}
	if status, ok := errors.AsType[exitStatus](err); ok {
		return status
	}
	if errors.Is(err, context.Canceled) || connect.CodeOf(err) == connect.CodeCanceled {
		fmt.Fprintln(c.App.ErrWriter, "soulbox: cancelled")
		return exitStatus(exitCancelled)
	}
	sayError(c.App.ErrWriter, painterOf(c, c.App.ErrWriter), err)
	return exitStatus(exitFailed)
}

// run is the action of `soulbox run`.
func run(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	req, err := runRequest(c, os.Stdin, func(language string) (string, error) {
		l, err := daemon.Languages.GetLanguage(ctx, &pb.GetLanguageRequest{Name: language})
		return l.GetEntrypoint(), err
	})
	if err != nil {
		return err
	}
	show := output{stdout: c.App.Writer, stderr: c.App.ErrWriter}
	if c.Bool("json") {
		show = output{stdout: io.Discard, stderr: io.Discard}
	}
	x, err := stream(ctx, daemon, req, show)
	if err != nil {
		return err
	}
	if err := saveOutputs(".", req.GetOutputs(), x.GetOutputs(), c.App.ErrWriter); err != nil {
		return err
	}
	if c.Bool("json") {
		if err := printMessage(c.App.Writer, x); err != nil {
			return err
		}
	} else if line := outcome(x); line != "" {
		sayOutcome(c.App.ErrWriter, painterOf(c, c.App.ErrWriter), line)
	}
	if status := runStatus(x); status != 0 {
		return exitStatus(status)
	}
	return nil
}

// output is where a program's output goes.
type output struct{ stdout, stderr io.Writer }

// stream runs a program, shows its output as it comes and returns its result. What a compiler prints goes to stderr.
func stream(ctx context.Context, daemon *client.Client, req *pb.StreamExecutionRequest, show output) (*pb.Execution, error) {
	events, err := daemon.Executions.StreamExecution(ctx, req)
	if err != nil {
		return nil, err
	}
	defer events.Close() // what is left of the stream is of no interest
	var result *pb.Execution
	for result == nil && events.Receive() {
		ev := events.Msg()
		to, data := show.stdout, ev.GetStdout()
		if ev.GetStderr() != nil {
			to, data = show.stderr, ev.GetStderr()
		}
		if ev.GetCompile() {
			to = show.stderr
		}
		if data != nil {
			if err := write(to, data); err != nil {
				return nil, fmt.Errorf("show output: %w", err)
			}
		}
		result = ev.GetResult()
	}
	if result != nil {
		return result, nil
	}
	if err := events.Err(); err != nil {
		return nil, err
	}
	return nil, errors.New("the daemon ended the stream without a result")
}

// write writes the exact bytes of a piece of output.
func write(w io.Writer, o *pb.Output) error {
	data := o.GetRaw()
	if data == nil {
		data = []byte(o.GetText())
	}
	_, err := w.Write(data)
	return err
}

// runStatus is the exit status for a result, see runDescription.
func runStatus(x *pb.Execution) int {
	switch x.GetVerdict() {
	case pb.Verdict_VERDICT_COMPILE_ERROR:
		return exitCompile
	case pb.Verdict_VERDICT_TIME_LIMIT, pb.Verdict_VERDICT_CPU_LIMIT:
		return exitTime
	case pb.Verdict_VERDICT_MEMORY_LIMIT, pb.Verdict_VERDICT_OUTPUT_LIMIT:
		return exitKilled
	case pb.Verdict_VERDICT_CANCELLED:
		return exitCancelled
	case pb.Verdict_VERDICT_INTERNAL, pb.Verdict_VERDICT_UNSPECIFIED:
		return exitFailed
	}
	if n := signalNumber(x.GetSignal()); n != 0 {
		return 128 + n
	}
	if x.GetExitCode() < 0 {
		return exitKilled
	}
	return int(x.GetExitCode())
}

// outcome is the one line about a result that its output and exit status do not say; "" for none.
func outcome(x *pb.Execution) string {
	hit := x.GetLimitsHit()
	limits := x.GetLimits()
	switch x.GetVerdict() {
	case pb.Verdict_VERDICT_OK, pb.Verdict_VERDICT_RUNTIME_ERROR:
	case pb.Verdict_VERDICT_SIGNALLED:
		return "killed by " + printable(x.GetSignal())
	case pb.Verdict_VERDICT_COMPILE_ERROR:
		if verdict := x.GetCompile().GetVerdict(); verdict != pb.Verdict_VERDICT_RUNTIME_ERROR && verdict != pb.Verdict_VERDICT_COMPILE_ERROR {
			return "it did not compile: the compiler's " + enumName(verdict.String(), "VERDICT_")
		}
		return "it did not compile"
	case pb.Verdict_VERDICT_TIME_LIMIT:
		return fmt.Sprintf("time limit: stopped after %s (--timeout)", limits.GetWallTime().AsDuration())
	case pb.Verdict_VERDICT_CPU_LIMIT:
		return fmt.Sprintf("cpu limit: stopped after %s of CPU time (--cpu)", limits.GetCpuTime().AsDuration())
	case pb.Verdict_VERDICT_MEMORY_LIMIT:
		return fmt.Sprintf("memory limit: it needs more than %s (--memory)", showBytes(limits.GetMemoryBytes()))
	case pb.Verdict_VERDICT_OUTPUT_LIMIT:
		return fmt.Sprintf("output limit: stopped after %s of output (--output-limit)", showBytes(limits.GetOutputBytes()))
	case pb.Verdict_VERDICT_UNSPECIFIED:
		return "it did not end"
	case pb.Verdict_VERDICT_CANCELLED:
		return "cancelled"
	case pb.Verdict_VERDICT_INTERNAL:
		return "SoulBox failed, not the program: " + printable(x.GetDetail())
	default: // disk, processes
		return enumName(x.GetVerdict().String(), "VERDICT_") + ": " + limitNames(hit, limits)
	}
	if len(hit) > 0 {
		return "touched its limits: " + limitNames(hit, limits)
	}
	return ""
}

// limitNames lists limits with their values.
func limitNames(names []string, l *pb.Limits) string {
	values := map[string]string{
		"wallTime": l.GetWallTime().AsDuration().String(), "cpuTime": l.GetCpuTime().AsDuration().String(),
		"memoryBytes": showBytes(l.GetMemoryBytes()), "processes": fmt.Sprint(l.GetProcesses()), "openFiles": fmt.Sprint(l.GetOpenFiles()),
		"fileBytes": showBytes(l.GetFileBytes()), "diskBytes": showBytes(l.GetDiskBytes()), "inodes": fmt.Sprint(l.GetInodes()),
		"outputBytes": showBytes(l.GetOutputBytes()),
	}
	var out []string
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		out = append(out, strings.TrimSpace(printable(name)+" "+values[name]))
	}
	return strings.Join(out, ", ")
}

// positive reports a duration flag that was given and is not above zero.
func positive(c *cli.Context, name string) error {
	if d := c.Duration(name); c.IsSet(name) && d <= 0 {
		return fmt.Errorf("--%s %s must be more than 0", name, d)
	}
	return nil
}
