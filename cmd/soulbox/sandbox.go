package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/soulbox/soulbox/rpc/client"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

// nameLabel is the label that holds what people call a sandbox.
const nameLabel = "name"

func sandboxCommand() *cli.Command {
	return &cli.Command{
		Name:    "sandbox",
		Aliases: []string{"sb"},
		Usage:   "make, list and end sandboxes that live on",
		Subcommands: []*cli.Command{
			sandboxCreateCommand(),
			sandboxListCommand(),
			sandboxGetCommand(),
			sandboxLogsCommand(),
			sandboxPauseCommand(),
			sandboxResumeCommand(),
			sandboxTimeoutCommand(),
			sandboxStopCommand(),
			sandboxRemoveCommand(),
		},
	}
}

func sandboxCreateCommand() *cli.Command {
	return &cli.Command{
		Name:  "create",
		Usage: "make a sandbox and print its id",
		Description: "It is there once the id is printed, and lives until it is removed, its time is over, or it was not used for --idle-timeout.\n\n" +
			"   soulbox sandbox create --name build --memory 1G --timeout 2h\n" +
			"   id=$(soulbox sandbox create --label ci=42)",
		Flags: clientFlags(append(createFlags(), jsonFlag())...),
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			if _, err := createRequest(c); err != nil {
				return err
			}
			return withDaemon(sandboxCreate)(c)
		},
	}
}

// createFlags are the flags of every command that makes a sandbox.
func createFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "name", Usage: "`NAME` to call it by; the label " + nameLabel},
		&cli.StringSliceFlag{Name: "label", Usage: "`K=V` to find it by; repeatable"},
		&cli.StringSliceFlag{Name: "metadata", Usage: "`K=V` to keep with it; repeatable"},
		&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "`K=V` in the environment of every process; repeatable"},
		&cli.StringFlag{Name: "memory", Aliases: []string{"m"}, Usage: "`SIZE` of all processes together, at least 16M (default: the daemon's)"},
		&cli.StringFlag{Name: "disk", Usage: "`SIZE` that it may write (default: the daemon's)"},
		&cli.UintFlag{Name: "processes", Usage: "`NUMBER` of processes and threads at once (default: the daemon's)"},
		&cli.DurationFlag{Name: "timeout", Usage: "`TIME` that it lives, such as 90m; 0 is for ever, where the operator allows it (default: the daemon's)"},
		&cli.DurationFlag{Name: "idle-timeout", Usage: "`TIME` that it lives without being used; 0 is for ever"},
		&cli.StringFlag{Name: "image", Usage: "`IMAGE` that it starts from (default: the operator's, or the programs of the daemon's host)"},
		runtimeFlag(),
		&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "`USER` who runs its processes, by name or id (default: the image's; user on the host's)"},
		&cli.StringFlag{Name: "workdir", Aliases: []string{"w"}, Usage: "`DIR` where processes begin (default: the image's, or the user's home)"},
	}
}

// createRequest reads [createFlags], and reports all that is wrong with them.
func createRequest(c *cli.Context) (*pb.CreateSandboxRequest, error) {
	labels, err1 := pairs(c, "label")
	metadata, err2 := pairs(c, "metadata")
	env, err3 := pairs(c, "env")
	l := &pb.SandboxLimits{Processes: uint32(min(c.Uint("processes"), math.MaxUint32))}
	err4 := sizes(c, map[string]*int64{"memory": &l.MemoryBytes, "disk": &l.DiskBytes})
	if c.IsSet("name") {
		labels[nameLabel] = c.String("name")
	}
	req := &pb.CreateSandboxRequest{Image: c.String("image"), Runtime: c.String("runtime"), Labels: labels, Metadata: metadata, Env: env, User: c.String("user"),
		Workdir: c.String("workdir"), Limits: l}
	errs := []error{err1, err2, err3, err4}
	for name, into := range map[string]**durationpb.Duration{"timeout": &req.Timeout, "idle-timeout": &req.IdleTimeout} {
		if c.IsSet(name) {
			*into = durationpb.New(c.Duration(name))
		}
		if c.Duration(name) < 0 {
			errs = append(errs, fmt.Errorf("--%s %s must not be less than 0", name, c.Duration(name)))
		}
	}
	return req, errors.Join(errs...)
}

// pairs reads a repeatable flag K=V.
func pairs(c *cli.Context, flag string) (map[string]string, error) {
	out := map[string]string{}
	var errs []error
	for _, kv := range c.StringSlice(flag) {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			errs = append(errs, fmt.Errorf("--%s %q is not K=V", flag, kv))
		}
		out[k] = v
	}
	return out, errors.Join(errs...)
}

func sandboxCreate(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	box, err := createSandbox(ctx, c, daemon)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printMessage(c.App.Writer, box)
	}
	return printLine(c.App.Writer, box.GetId())
}

// createSandbox makes the sandbox of [createFlags], and says which limits are not what was asked for.
func createSandbox(ctx context.Context, c *cli.Context, daemon *client.Client) (*pb.Sandbox, error) {
	req, err := createRequest(c)
	if err != nil {
		return nil, err
	}
	box, err := daemon.Sandboxes.CreateSandbox(ctx, req)
	if err != nil {
		return nil, err
	}
	if len(box.GetClamped()) > 0 {
		fmt.Fprintf(c.App.ErrWriter, "soulbox: the operator's policy lowered %s\n", printable(strings.Join(box.GetClamped(), ", ")))
	}
	return box, nil
}
