package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/rpc/client"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

func logsCommand() *cli.Command {
	return &cli.Command{
		Name:      "logs",
		Usage:     "show what an execution printed, and its compiler",
		ArgsUsage: "ID",
		Description: "Standard output goes to standard output, standard error and what a compiler printed to standard error. How it ended is\n" +
			"   said in one line on standard error, unless it ended well.\n\n   soulbox logs $(soulbox ps -q -n 1)",
		Flags: clientFlags(&cli.BoolFlag{Name: "json", Usage: "print the whole record as JSON"}),
		Action: func(c *cli.Context) error {
			if _, err := oneArg(c, "execution ID"); err != nil {
				return err
			}
			return withDaemon(logs)(c)
		},
	}
}

func logs(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	x, err := daemon.Executions.GetExecution(ctx, &pb.GetExecutionRequest{Id: c.Args().First()})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printMessage(c.App.Writer, x)
	}
	step := x.GetCompile()
	for _, part := range []struct {
		stdout bool
		text   string
		raw    []byte
	}{
		{false, step.GetStdout(), step.GetStdoutRaw()},
		{false, step.GetStderr(), step.GetStderrRaw()},
		{true, x.GetStdout(), x.GetStdoutRaw()},
		{false, x.GetStderr(), x.GetStderrRaw()},
	} {
		to := c.App.ErrWriter
		if part.stdout {
			to = c.App.Writer
		}
		o := &pb.Output{Text: part.text}
		if len(part.raw) > 0 {
			o.Raw = part.raw
		}
		if err := write(to, o); err != nil {
			return fmt.Errorf("show output: %w", err)
		}
	}
	line := outcome(x)
	switch {
	case x.GetState() != pb.State_STATE_DONE:
		line = "it is still " + enumName(x.GetState().String(), "STATE_") + "; what it prints is recorded at its end"
	case x.GetOutputsExpired():
		line = strings.TrimPrefix(line+"; what it printed is not kept any more", "; ")
	case line == "" && x.GetExitCode() != 0:
		line = fmt.Sprintf("exit status %d", x.GetExitCode())
	}
	if line != "" {
		sayOutcome(c.App.ErrWriter, painterOf(c, c.App.ErrWriter), line)
	}
	return nil
}
