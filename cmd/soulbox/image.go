package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/rpc/client"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

func imageCommand() *cli.Command {
	return &cli.Command{
		Name:    "image",
		Aliases: []string{"images"},
		Usage:   "get, make, list and remove what sandboxes start from",
		Subcommands: []*cli.Command{
			imagePullCommand(),
			imageBuildCommand(),
			imageImportCommand(),
			imageExportCommand(),
			imageListCommand(),
			imageInspectCommand(),
			imageRemoveCommand(),
			imageCollectCommand(),
		},
	}
}

// imageView is an image as templates of --format see it.
type imageView struct {
	Name, Digest, ID, Source, Platform, Size string // ID is the beginning of the digest
	Bytes                                    int64
	Layers                                   int
	Age, AddedAt                             string // since it is here
	User, Workdir                            string
	Command                                  []string
	Labels                                   map[string]string
}

// shortDigest is how many digits of a digest are shown.
const shortDigest = 12

func viewImage(i *pb.Image, now time.Time) imageView {
	id := strings.TrimPrefix(i.GetDigest(), "sha256:")
	v := imageView{
		Name: printable(i.GetName()), Digest: printable(i.GetDigest()), ID: printable(id[:min(len(id), shortDigest)]), Source: printable(i.GetSource()),
		Platform: printable(i.GetPlatform()), Size: showBytes(i.GetSizeBytes()), Bytes: i.GetSizeBytes(), Layers: len(i.GetLayers()),
		Age: showAge(i.GetAddedAt(), now), AddedAt: i.GetAddedAt().AsTime().Format(time.RFC3339), User: printable(i.GetConfig().GetUser()),
		Workdir: printable(i.GetConfig().GetWorkdir()), Labels: printableMap(i.GetLabels()),
	}
	for _, arg := range append(i.GetConfig().GetEntrypoint(), i.GetConfig().GetCmd()...) {
		v.Command = append(v.Command, printable(arg))
	}
	return v
}

func imageListCommand() *cli.Command {
	return &cli.Command{
		Name:    "list",
		Aliases: []string{"ls"},
		Usage:   "list images, by name",
		Description: "Beside them there is always host, the programs of the daemon's own host. Fields for --format are those of\n" +
			"soulbox image inspect --format.\n\n   soulbox image list\n   soulbox image list -q",
		Flags: clientFlags(
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print names only"},
			formatFlag(),
			jsonFlag(),
		),
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			if _, err := parseFormat(c); err != nil {
				return err
			}
			return withDaemon(imageList)(c)
		},
	}
}

func imageList(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	list, err := daemon.Images.ListImages(ctx, &pb.ListImagesRequest{})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printMessage(c.App.Writer, list)
	}
	now := time.Now()
	var rows [][]string
	var all []imageView
	for _, i := range list.GetImages() {
		v := viewImage(i, now)
		all = append(all, v)
		rows = append(rows, []string{v.Name, v.ID, v.Size, v.Age, v.Source})
	}
	switch {
	case c.Bool("quiet"):
		for _, v := range all {
			if err := printLine(c.App.Writer, v.Name); err != nil {
				return err
			}
		}
		return nil
	case c.String("format") != "":
		return printFormat(c, all)
	}
	return printTable(c.App.Writer, painterOf(c, c.App.Writer), []string{"NAME", "DIGEST", "SIZE", "AGE", "SOURCE"}, rows)
}

func imageInspectCommand() *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Aliases:   []string{"get"},
		Usage:     "describe images, as JSON",
		ArgsUsage: "NAME...",
		Description: "A NAME can be a digest, or the first 12 or more digits of one. Fields for --format: .Name .ID .Digest .Source .Platform\n" +
			".Size .Bytes .Layers .Age .AddedAt .User .Workdir .Command .Labels.\n\n" +
			"   soulbox image inspect debian:bookworm\n" +
			"   soulbox image inspect --format '{{.Digest}}' debian:bookworm",
		Flags: clientFlags(formatFlag(), jsonFlag()),
		Action: func(c *cli.Context) error {
			if err := someArgs(c, "NAME"); err != nil {
				return err
			}
			if _, err := parseFormat(c); err != nil {
				return err
			}
			return withDaemon(eachImage(func(ctx context.Context, c *cli.Context, daemon *client.Client, name string) error {
				i, err := daemon.Images.GetImage(ctx, &pb.GetImageRequest{Name: name})
				switch {
				case err != nil:
					return err
				case c.String("format") != "":
					return printFormat(c, []imageView{viewImage(i, time.Now())})
				}
				return printMessage(c.App.Writer, i)
			}))(c)
		},
	}
}

// eachImage does the same with every image that is named, and goes on after one with which it does not go well.
func eachImage(do func(ctx context.Context, c *cli.Context, daemon *client.Client, name string) error) clientAction {
	return func(ctx context.Context, c *cli.Context, daemon *client.Client) error {
		var errs []error
		for _, name := range c.Args().Slice() {
			if err := do(ctx, c, daemon, name); err != nil {
				errs = append(errs, &failure{printable(name) + ": " + client.Explain(err), err})
			}
		}
		return errors.Join(errs...)
	}
}

func imageRemoveCommand() *cli.Command {
	return &cli.Command{
		Name:      "rm",
		Aliases:   []string{"remove"},
		Usage:     "remove images, with all that no other image has of them",
		ArgsUsage: "NAME...",
		Description: "An image that a sandbox stands on is refused; end that first.\n\n" +
			"   soulbox image rm debian:bookworm\n   soulbox image rm --all",
		Flags: clientFlags(&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "all images"}),
		Action: func(c *cli.Context) error {
			if c.Bool("all") {
				if err := noArgs(c); err != nil {
					return err
				}
				return withDaemon(imageRemoveAll)(c)
			}
			if err := someArgs(c, "NAME"); err != nil {
				return err
			}
			return withDaemon(eachImage(imageRemove))(c)
		},
	}
}

func imageRemove(ctx context.Context, c *cli.Context, daemon *client.Client, name string) error {
	if _, err := daemon.Images.RemoveImage(ctx, &pb.RemoveImageRequest{Name: name}); err != nil {
		return err
	}
	return printLine(c.App.Writer, name)
}

func imageRemoveAll(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	list, err := daemon.Images.ListImages(ctx, &pb.ListImagesRequest{})
	if err != nil {
		return err
	}
	var errs []error
	for _, i := range list.GetImages() {
		if err := imageRemove(ctx, c, daemon, i.GetName()); err != nil {
			errs = append(errs, &failure{printable(i.GetName()) + ": " + client.Explain(err), err})
		}
	}
	return errors.Join(errs...)
}

func imageCollectCommand() *cli.Command {
	return &cli.Command{
		Name:  "gc",
		Usage: "remove content that no image refers to",
		Description: "Such is left by images whose names went to others, and by pulls that were cut off: those would go on where they were.\n\n" +
			"   soulbox image gc",
		Flags:  clientFlags(jsonFlag()),
		Action: daemonNoArgs(imageCollect),
	}
}

func imageCollect(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	gone, err := daemon.Images.CollectImages(ctx, &pb.CollectImagesRequest{})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printMessage(c.App.Writer, gone)
	}
	return printLine(c.App.Writer, fmt.Sprintf("%s freed: %d layers, %d blobs, %d unfinished downloads",
		showBytes(gone.GetFreedBytes()), gone.GetLayers(), gone.GetBlobs(), gone.GetPartial()))
}
