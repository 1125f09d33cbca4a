package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/template"

	"github.com/urfave/cli/v2"
)

func formatFlag() cli.Flag {
	return &cli.StringFlag{Name: "format", Usage: "print each as this Go `TEMPLATE` says, such as '{{.ID}}'"}
}

// parseFormat reads the flag --format.
func parseFormat(c *cli.Context) (*template.Template, error) {
	t, err := template.New("format").Option("missingkey=zero").Funcs(template.FuncMap{
		"json": func(v any) (string, error) {
			b, err := json.Marshal(v)
			return string(b), err
		},
		"upper": strings.ToUpper,
	}).Parse(c.String("format"))
	if err != nil {
		return nil, fmt.Errorf("--format: %w", err)
	}
	return t, nil
}

// printFormat prints each item as the flag --format says, on a line of its own.
func printFormat[T any](c *cli.Context, items []T) error {
	t, err := parseFormat(c)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	for _, item := range items {
		if err := t.Execute(&out, item); err != nil {
			return fmt.Errorf("--format: %w", err)
		}
		out.WriteByte('\n')
	}
	if _, err := out.WriteTo(c.App.Writer); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// printLine prints a line, without the control characters of what others wrote.
func printLine(w io.Writer, line string) error {
	if _, err := fmt.Fprintln(w, printable(line)); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// someArgs refuses a command line without arguments, which are called name in the error.
func someArgs(c *cli.Context, name string) error {
	if c.NArg() > 0 {
		return nil
	}
	return fmt.Errorf("%s takes one %s or more; see %s --help", c.Command.HelpName, name, c.Command.HelpName)
}

// indented fits a description of several lines into the help, which indents the first one only.
func indented(text string) string { return strings.ReplaceAll(text, "\n", "\n   ") }

// commandLine writes arguments as a shell would read them.
func commandLine(args []string) string {
	plain := regexp.MustCompile(`^[\w@%+=:,./-]+$`)
	words := make([]string, 0, len(args))
	for _, a := range args {
		if !plain.MatchString(a) {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}
