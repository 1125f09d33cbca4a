package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/images"
)

// languagesVariable hands the directory of operators' languages to what runs in the wide namespace.
const languagesVariable = "SOULBOX_LANGUAGES_DIR"

func languagesFlag() cli.Flag {
	return &cli.PathFlag{Name: "languages-dir", Value: defaultLanguagesDir(os.Getuid()), EnvVars: []string{languagesVariable},
		Usage: "`DIR` with more languages, a file NAME.toml each; see docs/languages.md"}
}

// languagesDir returns the absolute path of the operator's languages, "" when there are none: only a directory that
// somebody named must exist.
func languagesDir(c *cli.Context) (string, error) {
	dir := c.Path("languages-dir")
	if dir == "" {
		return "", nil
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("--languages-dir: %w", err)
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) && !c.IsSet("languages-dir") {
		return "", nil
	}
	return dir, nil
}

// settleLanguages decides where the operator's languages are, for this process and those it starts, and reports all
// that is wrong with them before anything is started.
func settleLanguages(c *cli.Context) error {
	dir, err := languagesDir(c)
	if err != nil {
		return err
	}
	if _, err := images.LoadDir(dir); err != nil {
		return err
	}
	if err := os.Setenv(languagesVariable, dir); err != nil {
		return fmt.Errorf("--languages-dir: %w", err)
	}
	return nil
}

func langCheckCommand() *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "check the files of languages before a daemon reads them",
		ArgsUsage: "FILE...",
		Description: "The files are read as those of --languages-dir are, all together. Every problem is named with its file.\n\n" +
			"   soulbox lang check /etc/soulbox/languages.d/*.toml",
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return errors.New("lang check takes the FILE of a language; see soulbox lang check --help")
			}
			if _, err := images.LoadFiles(c.Args().Slice()...); err != nil {
				return err
			}
			for _, file := range c.Args().Slice() {
				if _, err := fmt.Fprintf(c.App.Writer, "%s: good\n", printable(file)); err != nil {
					return fmt.Errorf("print languages: %w", err)
				}
			}
			return nil
		},
	}
}
