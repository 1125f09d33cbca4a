package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/soulbox/soulbox/rpc/client"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

func sandboxListCommand() *cli.Command {
	return &cli.Command{
		Name:    "list",
		Aliases: []string{"ls"},
		Usage:   "list sandboxes, the newest first",
		Description: "Filters are state=running|paused|creating|stopped|failed, label=K=V, name=NAME and image=IMAGE; all of them must fit.\n" +
			"Fields for --format are those of soulbox sandbox get --format.\n\n" +
			"   soulbox sandbox list\n" +
			"   soulbox sandbox list -a --filter state=failed\n" +
			"   soulbox sandbox list --format '{{.ID}} {{.Labels.ci}}'",
		Flags: clientFlags(
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "those too that have ended"},
			&cli.StringSliceFlag{Name: "filter", Aliases: []string{"f"}, Usage: "only those with `KEY=VALUE`; repeatable"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print ids only"},
			formatFlag(),
			jsonFlag(),
		),
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			if _, err := sandboxFilter(c); err != nil {
				return err
			}
			if _, err := parseFormat(c); err != nil {
				return err
			}
			return withDaemon(sandboxList)(c)
		},
	}
}

// sandboxFilter makes the request of the flags.
func sandboxFilter(c *cli.Context) (*pb.ListSandboxesRequest, error) {
	req := &pb.ListSandboxesRequest{Alive: !c.Bool("all")}
	var labels []string
	for _, f := range c.StringSlice("filter") {
		key, value, ok := strings.Cut(f, "=")
		switch {
		case !ok:
			return nil, fmt.Errorf("--filter %q is not KEY=VALUE", f)
		case key == "state":
			state, found := pb.SandboxState_value["SANDBOX_STATE_"+strings.ToUpper(value)]
			if !found || state == 0 {
				return nil, fmt.Errorf("--filter %q: a state is running, paused, creating, stopped or failed", f)
			}
			req.State, req.Alive = pb.SandboxState(state), false // the one says more than the other
		case key == "label" && strings.Contains(value, "=") && !strings.Contains(value, ","):
			labels = append(labels, value)
		case key == "label":
			return nil, fmt.Errorf("--filter %q: a label is K=V, without a comma", f)
		case key == "name":
			labels = append(labels, nameLabel+"="+value)
		case key == "image":
			req.Image = value
		default:
			return nil, fmt.Errorf("--filter %q: there is state, label, name and image", f)
		}
	}
	req.Labels = strings.Join(labels, ",")
	return req, nil
}

func sandboxList(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	req, err := sandboxFilter(c)
	if err != nil {
		return err
	}
	list, err := listSandboxes(ctx, daemon, req)
	if err != nil {
		return err
	}
	now := time.Now()
	switch {
	case c.Bool("json"):
		return printMessage(c.App.Writer, &pb.ListSandboxesResponse{Sandboxes: list})
	case c.Bool("quiet"):
		for _, s := range list {
			if err := printLine(c.App.Writer, s.GetId()); err != nil {
				return err
			}
		}
		return nil
	case c.String("format") != "":
		return printFormat(c, views(list, now))
	}
	rows := make([][]string, 0, len(list))
	for _, v := range views(list, now) {
		rows = append(rows, []string{v.ID, v.Name, v.State, v.Image, v.Age, v.Left, showLabels(v.Labels)})
	}
	return printTable(c.App.Writer, painterOf(c, c.App.Writer), []string{"ID", "NAME", "STATE", "IMAGE", "AGE", "LEFT", "LABELS"}, rows)
}

// sandboxView is a sandbox as templates of --format see it.
type sandboxView struct {
	ID, Name, State, Reason, Image, Runtime, User, Workdir string
	Age, Left                                              string // since it was made, until its time is over; "-" for never
	Memory, Disk                                           string
	Processes                                              uint32
	Labels, Metadata                                       map[string]string
	CreatedAt                                              string // RFC 3339
}

func views(list []*pb.Sandbox, now time.Time) []sandboxView {
	out := make([]sandboxView, 0, len(list))
	for _, s := range list {
		out = append(out, viewSandbox(s, now))
	}
	return out
}

func viewSandbox(s *pb.Sandbox, now time.Time) sandboxView {
	return sandboxView{
		ID: printable(s.GetId()), Name: printable(s.GetLabels()[nameLabel]), State: enumName(s.GetState().String(), "SANDBOX_STATE_"),
		Reason: printable(s.GetReason()), Image: printable(s.GetImage()), Runtime: printable(s.GetRuntime()), User: printable(s.GetUser()),
		Workdir: printable(s.GetWorkdir()), Age: showAge(s.GetCreatedAt(), now), Left: showLeft(s, now),
		Memory: showBytes(s.GetLimits().GetMemoryBytes()), Disk: showBytes(s.GetLimits().GetDiskBytes()), Processes: s.GetLimits().GetProcesses(),
		Labels: printableMap(s.GetLabels()), Metadata: printableMap(s.GetMetadata()), CreatedAt: s.GetCreatedAt().AsTime().Format(time.RFC3339),
	}
}

// showLeft says how long a sandbox will live.
func showLeft(s *pb.Sandbox, now time.Time) string {
	if s.GetDeadlineAt() == nil || s.GetEndedAt() != nil {
		return "-"
	}
	return showAge(timestamppb.New(now), s.GetDeadlineAt().AsTime())
}

// showLabels lists labels but the name, which has a column of its own.
func showLabels(labels map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if k != nameLabel {
			out = append(out, k+"="+labels[k])
		}
	}
	return strings.Join(out, ",")
}

func printableMap(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[printable(k)] = printable(v)
	}
	return out
}

func sandboxGetCommand() *cli.Command {
	return &cli.Command{
		Name:      "get",
		Aliases:   []string{"inspect"},
		Usage:     "describe sandboxes, as JSON",
		ArgsUsage: "ID...",
		Description: "Fields for --format: .ID .Name .State .Reason .Image .Runtime .User .Workdir .Age .Left .Memory .Disk .Processes\n" +
			".Labels .Metadata .CreatedAt; {{json .}} prints any of them as JSON.\n\n" +
			"   soulbox sandbox get build\n" +
			"   soulbox sandbox get --format '{{.State}} {{.Left}}' build",
		Flags: clientFlags(formatFlag()),
		Action: func(c *cli.Context) error {
			if err := someArgs(c, "ID"); err != nil {
				return err
			}
			if _, err := parseFormat(c); err != nil {
				return err
			}
			return withDaemon(sandboxGet)(c)
		},
	}
}

func sandboxGet(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	ids, err := findSandboxes(ctx, daemon, c.Args().Slice(), true)
	if err != nil {
		return err
	}
	now := time.Now()
	var errs []error
	for _, id := range ids {
		s, err := daemon.Sandboxes.GetSandbox(ctx, &pb.GetSandboxRequest{Id: id})
		if err == nil && c.String("format") != "" {
			err = printFormat(c, []sandboxView{viewSandbox(s, now)})
		} else if err == nil {
			err = printMessage(c.App.Writer, s)
		}
		errs = append(errs, aboutSandbox(id, err))
	}
	return errors.Join(errs...)
}
