package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/rpc/client"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

// pageSize is how many executions are asked for at once; the most that the API gives.
const pageSize = 1000

func psCommand() *cli.Command {
	return &cli.Command{
		Name:        "ps",
		Usage:       "list executions, the newest first",
		Description: "Sandboxes that live on are what soulbox sandbox list shows.\n\n   soulbox ps\n   soulbox ps -q -n 1 --language python",
		Flags: clientFlags(
			&cli.StringFlag{Name: "state", Usage: "only those in this `STATE`: queued, running or done"},
			&cli.StringFlag{Name: "language", Aliases: []string{"l"}, Usage: "only those of this language, by `NAME`"},
			&cli.UintFlag{Name: "limit", Aliases: []string{"n"}, Value: 20, Usage: "at most this `NUMBER`; 0 lists all"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print ids only"},
			jsonFlag(),
		),
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			if _, err := parseState(c.String("state")); err != nil {
				return err
			}
			return withDaemon(ps)(c)
		},
	}
}

func ps(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	state, err := parseState(c.String("state"))
	if err != nil {
		return err
	}
	list, err := listExecutions(ctx, daemon, &pb.ListExecutionsRequest{State: state, Language: c.String("language")}, int(c.Uint("limit")))
	if err != nil {
		return err
	}
	switch {
	case c.Bool("json"):
		return printMessage(c.App.Writer, &pb.ListExecutionsResponse{Executions: list})
	case c.Bool("quiet"):
		for _, x := range list {
			if _, err := fmt.Fprintln(c.App.Writer, printable(x.GetId())); err != nil {
				return fmt.Errorf("print ids: %w", err)
			}
		}
		return nil
	}
	now := time.Now()
	rows := make([][]string, 0, len(list))
	for _, x := range list {
		rows = append(rows, psRow(x, now))
	}
	return printTable(c.App.Writer, painterOf(c, c.App.Writer), []string{"ID", "LANGUAGE", "STATE", "VERDICT", "WALL", "PEAK", "AGE"}, rows)
}

func psRow(x *pb.Execution, now time.Time) []string {
	verdict, wall, peak := "-", "-", "-"
	if x.GetState() == pb.State_STATE_DONE {
		verdict = enumName(x.GetVerdict().String(), "VERDICT_")
		if x.GetUsage() != nil {
			wall, peak = showDuration(x.GetUsage().GetWallTime()), showBytes(x.GetUsage().GetPeakMemoryBytes())
		}
	}
	return []string{x.GetId(), x.GetLanguage(), enumName(x.GetState().String(), "STATE_"), verdict, wall, peak, showAge(x.GetCreatedAt(), now)}
}

// listExecutions follows the pages of a listing to its end or to limit; 0 is no limit.
func listExecutions(ctx context.Context, daemon *client.Client, req *pb.ListExecutionsRequest, limit int) ([]*pb.Execution, error) {
	var list []*pb.Execution
	for {
		req.PageSize = pageSize
		if limit > 0 {
			req.PageSize = int32(min(limit-len(list), pageSize))
		}
		page, err := daemon.Executions.ListExecutions(ctx, req)
		if err != nil {
			return nil, err
		}
		list = append(list, page.GetExecutions()...)
		req.PageToken = page.GetNextPageToken()
		if req.PageToken == "" || limit > 0 && len(list) >= limit {
			return list, nil
		}
	}
}

// parseState reads the flag --state; empty selects all.
func parseState(s string) (pb.State, error) {
	if s == "" {
		return pb.State_STATE_UNSPECIFIED, nil
	}
	v, ok := pb.State_value["STATE_"+strings.ToUpper(s)]
	if !ok || v == int32(pb.State_STATE_UNSPECIFIED) {
		return 0, fmt.Errorf("--state %q is not queued, running or done", s)
	}
	return pb.State(v), nil
}
