package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/rpc/client"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

func cpCommand() *cli.Command {
	return &cli.Command{
		Name:      "cp",
		Usage:     "copy files and directories into a sandbox, or out of one",
		ArgsUsage: "ID:PATH PATH|- | PATH|- ID:PATH",
		Description: indented(`One side is in a sandbox. A PATH there is absolute, or relative to the user's home. "-" is a tar stream on standard input or
output. Contents and modes are copied, and links as links; what leads out of a copied directory is left out.

SRC is copied into DST when that is a directory, under its own name; otherwise DST becomes SRC. With "/." at the end of a
SRC that is a directory, what is in it is copied, not itself. Directories need tar in the sandbox.

   soulbox cp main.py build:
   soulbox cp build:/home/user/out ./results
   soulbox cp src/. build:/home/user/src
   soulbox cp build:/etc - | tar tv

The exit status is 1 when not all was copied; a file that was not copied whole does not appear.`),
		Flags: clientFlags(
			&cli.BoolFlag{Name: "recursive", Aliases: []string{"r"}, Usage: "for the habit: directories are copied anyway"},
			&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "`USER` whose rights count in the sandbox, by name or id (default: the sandbox's)"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "show no progress"},
		),
		Action: func(c *cli.Context) error {
			if _, err := parseCopy(c.Args().Slice()); err != nil {
				return err
			}
			return withDaemon(copyFiles)(c)
		},
	}
}

// copySpec is a parsed command line.
type copySpec struct {
	box    string // as the user names it
	inside string // path there
	here   string // path on this machine, or "-"
	out    bool   // out of the sandbox
}

// parseCopy finds which side is in a sandbox: the one with a colon before any slash.
func parseCopy(args []string) (copySpec, error) {
	if len(args) != 2 {
		return copySpec{}, fmt.Errorf("cp takes a source and a destination, got %q; see soulbox cp --help", args)
	}
	var box, inside [2]string
	for i, arg := range args {
		before, after, ok := strings.Cut(arg, ":")
		if ok && before != "" && !strings.ContainsRune(before, '/') && before != "." {
			box[i], inside[i] = before, after
			if after == "" {
				inside[i] = "."
			}
		}
	}
	switch {
	case (box[0] == "") == (box[1] == ""):
		return copySpec{}, errors.New("cp copies into a sandbox or out of one: one side is ID:PATH, the other a path here (./a:b for one with a colon)")
	case box[0] != "":
		return copySpec{box: box[0], inside: inside[0], here: args[1], out: true}, nil
	}
	return copySpec{box: box[1], inside: inside[1], here: args[0]}, nil
}

// copier copies between this machine and one sandbox.
type copier struct {
	c        *cli.Context
	daemon   *client.Client
	id, user string
	left     int // how much was left out
}

func copyFiles(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	spec, err := parseCopy(c.Args().Slice())
	if err != nil {
		return err
	}
	id, err := findSandbox(ctx, daemon, spec.box, false)
	if err != nil {
		return err
	}
	k := &copier{c: c, daemon: daemon, id: id, user: c.String("user")}
	switch {
	case spec.out && spec.here == "-":
		err = k.download(ctx, spec.inside)
	case spec.out:
		err = k.copyOut(ctx, spec.inside, spec.here)
	case spec.here == "-":
		err = k.upload(ctx, os.Stdin, spec.inside)
	default:
		err = k.copyIn(ctx, spec.here, spec.inside)
	}
	if err == nil && k.left > 0 {
		return exitStatus(1)
	}
	return err
}

// skip says what is left out.
func (k *copier) skip(name, why string) {
	k.left++
	fmt.Fprintf(k.c.App.ErrWriter, "soulbox: left out %s: %s\n", printable(name), why)
}

// progress shows how much was copied, on a terminal; total is -1 when that is not known. The caller closes it.
func (k *copier) progress(name string, total int64) io.WriteCloser {
	if bar := progressBar(k.c, name, total); bar != nil {
		return bar
	}
	return discard{}
}

// progressBar shows how far something is, on a terminal; without one, or with --quiet, it is nil. total is -1 when it is
// not known. The caller closes it.
func progressBar(c *cli.Context, name string, total int64) *progressbar.ProgressBar {
	stderr, ok := c.App.ErrWriter.(*os.File)
	if c.Bool("quiet") || !ok || !isTerminal(stderr) {
		return nil
	}
	return progressbar.NewOptions64(total, progressbar.OptionSetWriter(stderr), progressbar.OptionSetDescription(printable(name)),
		progressbar.OptionShowBytes(true), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(20), progressbar.OptionSpinnerType(14))
}

// discard is a progress that nobody sees.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }

// destination says where a source called name is copied to: into a directory, or in its place. exists and isDir describe
// what is at to; sourceDir says that the source is a directory, and contents that only what is in it is meant.
func destination(to, name string, exists, isDir, sourceDir, contents bool) (string, error) {
	slash := strings.HasSuffix(to, "/")
	switch {
	case isDir && contents:
		return to, nil
	case isDir:
		return path.Join(to, name), nil
	case exists && (sourceDir || slash):
		return "", fmt.Errorf("%s is no directory", to)
	case !exists && slash && !sourceDir:
		return "", fmt.Errorf("there is no directory %s", to)
	}
	return path.Clean(to), nil
}

// contentsOnly tells whether a path ends with "/.".
func contentsOnly(p string) bool { return p == "." || strings.HasSuffix(p, "/.") }

// copyIn copies what is at here to inside.
func (k *copier) copyIn(ctx context.Context, here, inside string) error {
	st, err := os.Stat(here)
	if err != nil {
		return err // names the attempt and the file
	}
	if !st.IsDir() && !st.Mode().IsRegular() {
		return fmt.Errorf("copy %s: it is no file or directory", here)
	}
	there, err := k.stat(ctx, inside)
	if err != nil {
		return err
	}
	whole, err := filepath.Abs(here)
	if err != nil {
		return fmt.Errorf("copy %s: %w", here, err)
	}
	to, err := destination(inside, filepath.Base(whole), there != nil, there.GetType() == pb.FileType_FILE_TYPE_DIRECTORY, st.IsDir(), contentsOnly(here))
	if err != nil {
		return err
	}
	if st.IsDir() {
		return k.uploadDir(ctx, here, to)
	}
	return k.uploadFile(ctx, here, to)
}

// copyOut copies what is at inside to here.
func (k *copier) copyOut(ctx context.Context, inside, here string) error {
	there, err := k.daemon.Sandboxes.StatFile(ctx, &pb.StatFileRequest{Id: k.id, Path: inside, User: k.user})
	if err != nil {
		return err
	}
	st, err := os.Stat(here)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // names the attempt and the file
	}
	isDir := there.GetType() == pb.FileType_FILE_TYPE_DIRECTORY
	to, err := destination(here, path.Base(there.GetPath()), st != nil, st != nil && st.IsDir(), isDir, contentsOnly(inside))
	if err != nil {
		return err
	}
	switch {
	case isDir:
		return k.downloadDir(ctx, there.GetPath(), to)
	case there.GetType() != pb.FileType_FILE_TYPE_FILE:
		return fmt.Errorf("copy %s: it is no file or directory", printable(inside))
	}
	return k.downloadFile(ctx, there, to)
}
