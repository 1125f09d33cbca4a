package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/rpc/client"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/sandbox/wide"
)

func langCommand(session *wide.Session) *cli.Command {
	return &cli.Command{
		Name:  "lang",
		Usage: "show and try the languages of this host",
		Subcommands: []*cli.Command{
			{
				Name:        "list",
				Usage:       "list all languages, and how to get those that are missing",
				Description: "A daemon is asked when one answers; otherwise it is this command's own host.\n\n   soulbox lang list",
				Flags:       localFlags(jsonFlag()),
				Action: func(c *cli.Context) error {
					if err := noArgs(c); err != nil {
						return err
					}
					return withDaemonOrLocal(session, langList)(c)
				},
			},
			{
				Name:        "show",
				Usage:       "show one language: version, file names, default limits",
				ArgsUsage:   "NAME",
				Description: "NAME can be an alias.\n\n   soulbox lang show cpp",
				Flags:       localFlags(jsonFlag()),
				Action: func(c *cli.Context) error {
					if _, err := oneArg(c, "language name"); err != nil {
						return err
					}
					return withDaemonOrLocal(session, langShow)(c)
				},
			},
			langTestCommand(session),
			langCheckCommand(),
		},
	}
}

func langList(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	list, err := daemon.Languages.ListLanguages(ctx, &pb.ListLanguagesRequest{})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printMessage(c.App.Writer, list)
	}
	var rows [][]string
	var missing []*pb.Language
	for _, l := range list.GetLanguages() {
		version := l.GetVersion()
		if !l.GetAvailable() {
			version, missing = "missing", append(missing, l)
		}
		rows = append(rows, []string{l.GetName(), l.GetTitle(), version, strings.Join(l.GetExtensions(), " "), strings.Join(l.GetAliases(), " ")})
	}
	if err := printTable(c.App.Writer, painterOf(c, c.App.Writer), []string{"NAME", "LANGUAGE", "VERSION", "FILES", "ALIASES"}, rows); err != nil {
		return err
	}
	for _, l := range missing {
		if _, err := fmt.Fprintln(c.App.Writer, "\n"+howToGet(l)); err != nil {
			return fmt.Errorf("print languages: %w", err)
		}
	}
	return nil
}

// howToGet says what a language lacks and the command that installs it.
func howToGet(l *pb.Language) string {
	return fmt.Sprintf("%s: no %s below /usr; run as root: %s", printable(l.GetTitle()), printable(strings.Join(l.GetMissing(), ", ")), printable(l.GetInstall()))
}

func langShow(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	l, err := daemon.Languages.GetLanguage(ctx, &pb.GetLanguageRequest{Name: c.Args().First()})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printMessage(c.App.Writer, l)
	}
	return showLanguage(c.App.Writer, l)
}

func showLanguage(w io.Writer, l *pb.Language) error {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-15s %s\n", name, printable(value))
		}
	}
	line("name", l.GetName())
	line("language", l.GetTitle())
	line("version", l.GetVersion())
	line("aliases", strings.Join(l.GetAliases(), " "))
	line("files", strings.Join(l.GetExtensions(), " "))
	line("entrypoint", l.GetEntrypoint())
	all := []string{"wallTime", "cpuTime", "memoryBytes", "processes", "openFiles", "fileBytes", "diskBytes", "inodes", "outputBytes"}
	line("default limits", limitNames(all, l.GetLimits()))
	if l.GetCompiled() {
		line("when compiling", limitNames(all, l.GetCompileLimits()))
	}
	if !l.GetAvailable() {
		line("missing", howToGet(l))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("print language: %w", err)
	}
	return nil
}
