package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/urfave/cli/v2"
)

func manCommand() *cli.Command {
	return &cli.Command{
		Name:        "man",
		Usage:       "write a manual page for each command into DIR",
		ArgsUsage:   "[DIR]",
		Description: "They are made of what --help shows. Without DIR, here.\n\n   soulbox man /usr/local/share/man/man1",
		Hidden:      true,
		Action: func(c *cli.Context) error {
			dir := "."
			if c.NArg() > 0 {
				var err error
				if dir, err = oneArg(c, "directory"); err != nil {
					return err
				}
			}
			for name, page := range manPages(c.App) {
				if err := os.WriteFile(filepath.Join(dir, name), page, 0o644); err != nil {
					return fmt.Errorf("write manual page: %w", err)
				}
			}
			return nil
		},
	}
}

// manPages returns the pages of all commands that people use, by file name.
func manPages(app *cli.App) map[string][]byte {
	top := &cli.Command{Usage: app.Usage, Subcommands: app.Commands, ArgsUsage: "COMMAND", Flags: app.Flags}
	pages := map[string][]byte{"soulbox.1": manPage("soulbox", top)}
	eachCommand(app.Commands, "soulbox", func(path string, c *cli.Command) {
		pages[strings.ReplaceAll(path, " ", "-")+".1"] = manPage(path, c)
	})
	return pages
}

// eachCommand visits all commands that are not hidden, with their whole names.
func eachCommand(commands []*cli.Command, prefix string, visit func(path string, c *cli.Command)) {
	for _, c := range commands {
		if c.Hidden {
			continue
		}
		path := prefix + " " + c.Name
		visit(path, c)
		eachCommand(c.Subcommands, path, visit)
	}
}

// manPage renders one page.
func manPage(path string, c *cli.Command) []byte {
	var b strings.Builder
	dashed := strings.ReplaceAll(path, " ", "-")
	fmt.Fprintf(&b, "%% %s 1 \"\" \"SoulBox\" \"SoulBox\"\n\n# NAME\n\n%s - %s\n\n# SYNOPSIS\n\n**%s**", strings.ToUpper(dashed), dashed, c.Usage, path)
	if len(c.Flags) > 0 {
		b.WriteString(" [OPTIONS]")
	}
	fmt.Fprintf(&b, " %s\n", escapeMarkdown(c.ArgsUsage))
	if c.Description != "" {
		fmt.Fprintf(&b, "\n# DESCRIPTION\n\n%s", manText(c.Description))
	}
	if len(c.Flags) > 0 {
		b.WriteString("\n# OPTIONS\n")
	}
	for _, f := range c.Flags {
		doc, ok := f.(cli.DocGenerationFlag)
		if !ok {
			continue
		}
		var names []string
		for _, n := range f.Names() {
			names = append(names, fmt.Sprintf("**%s%s**", strings.Repeat("-", min(len(n), 2)), n))
		}
		value, usage := flagHelp(doc)
		if value != "" {
			value = "=*" + value + "*"
		}
		fmt.Fprintf(&b, "\n%s%s\n: %s\n", strings.Join(names, ", "), value, escapeMarkdown(usage))
	}
	if len(c.Subcommands) > 0 {
		b.WriteString("\n# COMMANDS\n")
	}
	for _, s := range c.Subcommands {
		if !s.Hidden {
			fmt.Fprintf(&b, "\n**%s-%s**(1)\n: %s\n", dashed, s.Name, escapeMarkdown(s.Usage))
		}
	}
	return md2man.Render([]byte(b.String()))
}

// flagHelp returns what a flag's value is called, "" for none, and its help.
func flagHelp(f cli.DocGenerationFlag) (value, usage string) {
	usage = f.GetUsage()
	if before, rest, ok := strings.Cut(usage, "`"); ok {
		name, after, _ := strings.Cut(rest, "`")
		return name, before + name + after
	}
	if f.TakesValue() {
		return "VALUE", usage
	}
	return "", usage
}

// manText makes Markdown of a description, whose examples are indented.
func manText(description string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.ReplaceAll(description, "\n   ", "\n") + "\n") {
		if strings.HasPrefix(line, "soulbox ") || strings.HasPrefix(line, "   ") || isExample(line) {
			b.WriteString("    " + strings.TrimSpace(line) + "\n")
			continue
		}
		b.WriteString(escapeMarkdown(line))
	}
	return b.String()
}

// isExample tells whether a line of a description is one that can be typed.
func isExample(line string) bool {
	line = strings.TrimSpace(line)
	for _, begin := range []string{"soulbox ", "echo ", "curl ", "tar ", "id=$(", "source <("} {
		if strings.HasPrefix(line, begin) && strings.Contains(line, "soulbox ") {
			return true
		}
	}
	return false
}

// escapeMarkdown keeps what would mean something in Markdown as it is.
func escapeMarkdown(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `_`, `\_`, `<`, `\<`, "`", "\\`", `[`, `\[`, `]`, `\]`).Replace(text)
}
