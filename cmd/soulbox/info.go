package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/rpc/client"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

func infoCommand() *cli.Command {
	return &cli.Command{
		Name:        "info",
		Usage:       "describe a running daemon: its load, its limits, and what it cannot enforce",
		Description: "What a host could offer, without a daemon, is what soulbox doctor says.\n\n   soulbox info",
		Flags:       clientFlags(jsonFlag()),
		Action:      daemonNoArgs(info),
	}
}

func info(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	i, err := daemon.System.GetSystemInfo(ctx, &pb.GetSystemInfoRequest{})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printMessage(c.App.Writer, i)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "version   %s\n", printable(i.GetVersion()))
	for _, r := range i.GetRuntimes() {
		how := "as root"
		if r.GetRootless() {
			how = "without root"
		}
		fmt.Fprintf(&b, "runtime   %s %s, %s; the kernel keeps %s\n", printable(r.GetName()), printable(r.GetVersion()), how,
			printable(strings.Join(r.GetEnforced(), ", ")))
		for _, f := range r.GetFeatures() {
			if f.GetAnswer() == pb.Answer_ANSWER_NO {
				fmt.Fprintf(&b, "            no %s: %s\n", printable(f.GetName()), printable(f.GetDetail()))
			}
		}
	}
	fmt.Fprintf(&b, "running   %d of at most %d\n", i.GetRunning(), i.GetMaxBoxes())
	fmt.Fprintf(&b, "queued    %d of at most %d\n", i.GetQueued(), i.GetMaxQueue())
	fmt.Fprintf(&b, "memory    %s of %s promised to programs\n", showBytes(i.GetMemoryUsedBytes()), showBytes(i.GetMemoryBytes()))
	if p := i.GetPolicy(); p != nil {
		fmt.Fprintf(&b, "policy    at most %s\n", limitNames([]string{"wallTime", "cpuTime", "memoryBytes", "processes", "openFiles", "fileBytes",
			"diskBytes", "inodes", "outputBytes"}, p))
	}
	for _, w := range i.GetWarnings() {
		fmt.Fprintf(&b, "warning   %s: %s\n", printable(w.GetName()), printable(w.GetText()))
	}
	if _, err := fmt.Fprint(c.App.Writer, b.String()); err != nil {
		return fmt.Errorf("print info: %w", err)
	}
	return nil
}
