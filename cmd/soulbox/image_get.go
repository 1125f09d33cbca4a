package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"connectrpc.com/connect"
	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/rpc/client"
	"github.com/soulbox/soulbox/rpc/client/tree"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

// getFlags are the flags of every command that gets an image.
func getFlags(more ...cli.Flag) []cli.Flag {
	return clientFlags(append(more,
		&cli.StringFlag{Name: "name", Aliases: []string{"t"}, Usage: "`NAME` to call it by"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "show no progress, and print the digest"},
		jsonFlag(),
	)...)
}

func imagePullCommand() *cli.Command {
	return &cli.Command{
		Name:      "pull",
		Usage:     "get an image from a registry",
		ArgsUsage: "REFERENCE",
		Description: "A REFERENCE is docker's: a name of Docker Hub, or one that begins with a registry's host. Credentials are those that docker\n" +
			"login or podman login gave the daemon's user. A pull that was cut off goes on where it was.\n\n" +
			"   soulbox image pull debian:bookworm\n" +
			"   soulbox image pull --name tools registry.example/team/tools@sha256:…",
		Flags: getFlags(),
		Action: func(c *cli.Context) error {
			ref, err := oneArg(c, "reference of an image")
			if err != nil {
				return err
			}
			return withDaemon(func(ctx context.Context, c *cli.Context, daemon *client.Client) error {
				events, err := daemon.Images.PullImage(ctx, &pb.PullImageRequest{Reference: ref, Name: c.String("name")})
				if err != nil {
					return err
				}
				return followImage(c, events)
			})(c)
		},
	}
}

func imageBuildCommand() *cli.Command {
	return &cli.Command{
		Name:      "build",
		Usage:     "make a Debian with the packages of languages",
		ArgsUsage: "LANGUAGE...|base|all",
		Description: "It is made with mmdebstrap, which the daemon's host must have, as a user who is not root too. In its sandboxes sudo and apt\n" +
			"work. With --snapshot the packages are those of that time, and the image is the same each time, as far as its packages\n" +
			"are: see docs/images.md.\n\n" +
			"   soulbox image build python\n" +
			"   soulbox image build --name ci --package git go javascript\n" +
			"   soulbox image build --snapshot 20261101T000000Z base",
		Flags: getFlags(
			&cli.StringFlag{Name: "suite", Usage: "`SUITE` of Debian (default: the operator's)"},
			&cli.StringFlag{Name: "snapshot", Usage: "`TIME` of the archive, as 20261101T000000Z (default: as it is now)"},
			&cli.StringSliceFlag{Name: "package", Aliases: []string{"p"}, Usage: "`PACKAGE` beside those of the languages; repeatable"},
		),
		Action: func(c *cli.Context) error {
			if err := someArgs(c, "LANGUAGE, base or all"); err != nil {
				return err
			}
			return withDaemon(func(ctx context.Context, c *cli.Context, daemon *client.Client) error {
				events, err := daemon.Images.BuildImage(ctx, &pb.BuildImageRequest{Recipes: c.Args().Slice(), Name: c.String("name"),
					Suite: c.String("suite"), Snapshot: c.String("snapshot"), Packages: c.StringSlice("package")})
				if err != nil {
					return err
				}
				return followImage(c, events)
			})(c)
		},
	}
}

// followImage shows progress until there is an image, and prints that.
func followImage(c *cli.Context, events *connect.ServerStreamForClient[pb.ImageEvent]) error {
	defer events.Close()
	bars := &imageBars{c: c}
	defer bars.close()
	var image *pb.Image
	for events.Receive() {
		if image = events.Msg().GetImage(); image == nil {
			bars.show(events.Msg())
		}
	}
	bars.close()
	if err := events.Err(); err != nil {
		return err
	}
	if image == nil {
		return errors.New("the daemon's answer has no image")
	}
	return printImage(c, image)
}

func printImage(c *cli.Context, image *pb.Image) error {
	switch {
	case c.Bool("json"):
		return printMessage(c.App.Writer, image)
	case c.Bool("quiet"):
		return printLine(c.App.Writer, image.GetDigest())
	}
	return printLine(c.App.Writer, image.GetName()+" "+image.GetDigest())
}

// imageBars show one bar after another, one for each thing that is downloaded or unpacked.
type imageBars struct {
	c    *cli.Context
	bar  *progressbar.ProgressBar
	what string
}

func (b *imageBars) show(ev *pb.ImageEvent) {
	digest := strings.TrimPrefix(ev.GetDigest(), "sha256:")
	what := strings.TrimSpace(enumName(ev.GetStage().String(), "IMAGE_STAGE_") + " " + digest[:min(len(digest), shortDigest)])
	if what != b.what {
		b.close()
		total := ev.GetTotalBytes()
		if total == 0 {
			total = -1
		}
		b.what, b.bar = what, progressBar(b.c, what, total)
	}
	if b.bar == nil {
		return
	}
	if ev.GetText() != "" {
		b.bar.Describe(what + ": " + fit(printable(ev.GetText()), 60))
	}
	_ = b.bar.Set64(ev.GetDoneBytes()) // what cannot be shown is not missed
}

func (b *imageBars) close() {
	if b.bar != nil {
		_ = b.bar.Close()
	}
	b.bar = nil
}

func imageImportCommand() *cli.Command {
	return &cli.Command{
		Name:      "import",
		Usage:     "take an image from an OCI layout or from what docker save wrote",
		ArgsUsage: "PATH|-",
		Description: "PATH is a directory that is an OCI layout, or an archive of one, or what docker save wrote; - is standard input.\n\n" +
			"   soulbox image import --name tools tools.tar\n" +
			"   docker save tools | soulbox image import --name tools -",
		Flags: getFlags(&cli.StringFlag{Name: "image", Usage: "`TAG` or digest of the image that is meant, where PATH holds several"}),
		Action: func(c *cli.Context) error {
			path, err := oneArg(c, "path, or - for standard input")
			if err != nil {
				return err
			}
			if c.String("name") == "" {
				return errors.New("--name is needed: what the image is to be called")
			}
			return withDaemon(func(ctx context.Context, c *cli.Context, daemon *client.Client) error {
				return imageImport(ctx, c, daemon, path)
			})(c)
		},
	}
}

func imageImport(ctx context.Context, c *cli.Context, daemon *client.Client, path string) error {
	archive, total, err := openImageArchive(path)
	if err != nil {
		return err
	}
	defer archive.Close()
	bar := progressBar(c, "import "+filepath.Base(path), total)
	if bar != nil {
		defer bar.Close()
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop() // what was sent so far must not become an image
	out, err := daemon.Images.ImportImage(ctx)
	if err != nil {
		return err
	}
	err = out.Send(&pb.ImportImageRequest{Message: &pb.ImportImageRequest_Open{Open: &pb.OpenImage{Name: c.String("name"), Image: c.String("image")}}})
	buf := make([]byte, copyChunk)
	for err == nil {
		n, readErr := archive.Read(buf)
		if n > 0 {
			err = out.Send(&pb.ImportImageRequest{Message: &pb.ImportImageRequest_Data{Data: buf[:n]}})
			if bar != nil {
				_ = bar.Add(n) // what cannot be shown is not missed
			}
		}
		if errors.Is(readErr, io.EOF) {
			break
		}
		if readErr != nil {
			return fmt.Errorf("read %s: %w", path, readErr)
		}
	}
	if err != nil && !errors.Is(err, io.EOF) { // after EOF, the answer says what is wrong
		return fmt.Errorf("import %s: %w", path, err)
	}
	image, err := out.CloseAndReceive()
	if err != nil {
		return err
	}
	return printImage(c, image)
}

func imageExportCommand() *cli.Command {
	return &cli.Command{
		Name:      "export",
		Usage:     "write an image as an archive, for import and for docker load",
		ArgsUsage: "NAME",
		Description: "The archive is an OCI layout. It goes to standard output unless that is a terminal.\n\n" +
			"   soulbox image export debian:bookworm >debian.tar\n" +
			"   soulbox image export -o debian.tar debian:bookworm",
		Flags: clientFlags(
			&cli.PathFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FILE` to write, in place of standard output"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "show no progress"},
		),
		Action: func(c *cli.Context) error {
			name, err := oneArg(c, "name of an image")
			if err != nil {
				return err
			}
			if f, ok := c.App.Writer.(*os.File); c.Path("output") == "" && ok && isTerminal(f) {
				return errors.New("an archive is nothing for a terminal; send it elsewhere, or name a file with -o")
			}
			return withDaemon(func(ctx context.Context, c *cli.Context, daemon *client.Client) error {
				return imageExport(ctx, c, daemon, name)
			})(c)
		},
	}
}

func imageExport(ctx context.Context, c *cli.Context, daemon *client.Client, name string) error {
	in, err := daemon.Images.ExportImage(ctx, &pb.ExportImageRequest{Name: name})
	if err != nil {
		return err
	}
	defer in.Close()
	path := c.Path("output")
	if path == "" {
		return writeExport(c, in, c.App.Writer, name)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".soulbox-export-")
	if err != nil {
		return fmt.Errorf("export %s: %w", name, err)
	}
	err = errors.Join(writeExport(c, in, f, name), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// writeExport writes the archive that in brings.
func writeExport(c *cli.Context, in *connect.ServerStreamForClient[pb.ExportImageResponse], out io.Writer, name string) error {
	bar := progressBar(c, "export "+name, -1)
	if bar != nil {
		defer bar.Close()
	}
	for in.Receive() {
		if _, err := out.Write(in.Msg().GetData()); err != nil {
			return fmt.Errorf("export %s: %w", name, err)
		}
		if bar != nil {
			_ = bar.Add(len(in.Msg().GetData())) // what cannot be shown is not missed
		}
	}
	return in.Err()
}

// openImageArchive opens an archive, or makes one of a directory as it is read. size is -1 where nobody knows.
func openImageArchive(path string) (_ io.ReadCloser, size int64, err error) {
	if path == "-" {
		return io.NopCloser(os.Stdin), -1, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err // names the attempt and the path
	}
	if !info.IsDir() {
		f, err := os.Open(path)
		return f, info.Size(), err
	}
	if _, err := os.Stat(filepath.Join(path, "index.json")); err != nil {
		return nil, 0, fmt.Errorf("%s is no OCI layout: it has no index.json", path)
	}
	r, w := io.Pipe()
	go func() {
		w.CloseWithError(tree.Pack(w, path, func(string, string) {}))
	}()
	if size, err = tree.Size(path); err != nil {
		size = -1
	}
	return r, size, nil
}
