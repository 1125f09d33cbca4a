package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/cmd/soulbox/config"
)

func configCommand() *cli.Command {
	return &cli.Command{
		Name:  "config",
		Usage: "print the configuration that soulbox serve would have, and where each value comes from",
		Description: "It takes the flags of soulbox serve, reads the same environment and the same file, and prints a file that says the\n" +
			"same. A running daemon may have been started otherwise.\n\n" +
			"   soulbox config --max-queue 50\n" +
			"   soulbox config check soulbox.toml",
		Flags: append(settingFlags(), jsonFlag()),
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			return printConfig(c)
		},
		Subcommands: []*cli.Command{{
			Name:        "check",
			Usage:       "say everything that is wrong with a configuration file",
			ArgsUsage:   "FILE",
			Description: "The file is judged alone, without flags and environment. The exit status is 1 when something is wrong.\n\n   soulbox config check soulbox.toml",
			Flags:       []cli.Flag{jsonFlag()},
			Action:      checkConfig,
		}},
	}
}

func printConfig(c *cli.Context) error {
	e, err := loadConfig(c, os.Getuid())
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, struct {
			File     string         `json:"file"` // that was read; empty: none
			Settings []config.Shown `json:"settings"`
		}{e.Path, e.Show()})
	}
	read := "no file was read"
	if e.Path != "" {
		read = "read " + printable(e.Path)
	}
	if _, err := fmt.Fprintf(c.App.Writer, "# %s\n", read); err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	if os.Getenv(keyVariable) != "" {
		if _, err := fmt.Fprintf(c.App.Writer, "# %s is set: one more key of the daemon, which is not shown\n", keyVariable); err != nil {
			return fmt.Errorf("print configuration: %w", err)
		}
	}
	return e.WriteTOML(c.App.Writer)
}

func checkConfig(c *cli.Context) error {
	file, err := oneArg(c, "file")
	if err != nil {
		return err
	}
	in := configInput(os.Getuid(), file)
	in.Env = nil
	_, err = config.Load(in)
	problems, bad := errors.AsType[config.Problems](err)
	if err != nil && !bad {
		return err
	}
	if c.Bool("json") {
		if problems == nil {
			problems = config.Problems{}
		}
		if err := printJSON(c.App.Writer, struct {
			Problems config.Problems `json:"problems"`
		}{problems}); err != nil {
			return err
		}
	} else if bad {
		fmt.Fprintln(c.App.ErrWriter, problems)
	} else if _, err := fmt.Fprintf(c.App.Writer, "%s is good\n", printable(file)); err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	if bad {
		return exitStatus(1)
	}
	return nil
}
