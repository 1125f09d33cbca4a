package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/rpc/client"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

func keyCommand() *cli.Command {
	return &cli.Command{
		Name:  "key",
		Usage: "make, list and revoke API keys",
		Subcommands: []*cli.Command{
			{
				Name:        "create",
				Usage:       "make a key and print it",
				Description: "The key is printed once and cannot be shown again: only a hash of it is kept.\n\n   soulbox key create --label laptop",
				Flags: clientFlags(
					&cli.StringFlag{Name: "label", Usage: "`TEXT` that says what the key is for"},
					jsonFlag(),
				),
				Action: daemonNoArgs(keyCreate),
			},
			{
				Name:        "list",
				Usage:       "list the keys, without their secrets",
				Description: "Those that were revoked are there, too.\n\n   soulbox key list",
				Flags:       clientFlags(jsonFlag()),
				Action:      daemonNoArgs(keyList),
			},
			{
				Name:        "revoke",
				Usage:       "make a key useless, at once",
				ArgsUsage:   "ID",
				Description: "The ID is that of soulbox key list, and no secret.\n\n   soulbox key revoke ID",
				Flags:       clientFlags(jsonFlag()),
				Action: func(c *cli.Context) error {
					if _, err := oneArg(c, "key ID"); err != nil {
						return err
					}
					return withDaemon(keyRevoke)(c)
				},
			},
		},
	}
}

// daemonNoArgs is [withDaemon] for commands without arguments.
func daemonNoArgs(action clientAction) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := noArgs(c); err != nil {
			return err
		}
		return withDaemon(action)(c)
	}
}

func keyCreate(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	made, err := daemon.Keys.CreateKey(ctx, &pb.CreateKeyRequest{Name: c.String("label")})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printMessage(c.App.Writer, made)
	}
	fmt.Fprintf(c.App.ErrWriter, "key %s; it is shown only now:\n", printable(made.GetKey().GetId()))
	if _, err := fmt.Fprintln(c.App.Writer, printable(made.GetSecret())); err != nil {
		return fmt.Errorf("print key: %w", err)
	}
	return nil
}

func keyList(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	list, err := daemon.Keys.ListKeys(ctx, &pb.ListKeysRequest{})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printMessage(c.App.Writer, list)
	}
	now := time.Now()
	rows := make([][]string, 0, len(list.GetKeys()))
	for _, k := range list.GetKeys() {
		state := "good"
		if k.GetRevokedAt() != nil {
			state = "revoked"
		}
		rows = append(rows, []string{k.GetId(), state, showAge(k.GetCreatedAt(), now), k.GetName()})
	}
	return printTable(c.App.Writer, painterOf(c, c.App.Writer), []string{"ID", "STATE", "AGE", "LABEL"}, rows)
}

func keyRevoke(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	key, err := daemon.Keys.RevokeKey(ctx, &pb.RevokeKeyRequest{Id: c.Args().First()})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printMessage(c.App.Writer, key)
	}
	if _, err := fmt.Fprintf(c.App.Writer, "key %s is revoked\n", printable(key.GetId())); err != nil {
		return fmt.Errorf("print key: %w", err)
	}
	return nil
}
