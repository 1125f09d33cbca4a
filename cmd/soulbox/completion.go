package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/images"
	"github.com/soulbox/soulbox/rpc/client"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

//go:embed completion
var completionScripts embed.FS

// completionWait is how long a shell waits for a daemon when its user presses Tab.
const completionWait = time.Second

// completeCommandName is what the scripts call with the words that were typed.
const completeCommandName = "__complete"

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print the script that completes command lines in a shell",
		ArgsUsage: "bash|zsh|fish",
		Description: indented(`Commands, flags, languages, and the ids and names of sandboxes are completed; for the latter a daemon is asked, briefly.

   source <(soulbox completion bash)
   soulbox completion zsh >"${fpath[1]}/_soulbox"
   soulbox completion fish >~/.config/fish/completions/soulbox.fish`),
		Action: func(c *cli.Context) error {
			shell, err := oneArg(c, "shell: bash, zsh or fish")
			if err != nil {
				return err
			}
			script, err := completionScripts.ReadFile("completion/" + shell)
			if err != nil {
				return fmt.Errorf("there is no completion for %q; there is bash, zsh and fish", shell)
			}
			if _, err := c.App.Writer.Write(script); err != nil {
				return fmt.Errorf("print script: %w", err)
			}
			return nil
		},
	}
}

func completeCommand() *cli.Command {
	return &cli.Command{
		Name:            completeCommandName,
		Usage:           "print what the last of WORDS can become, for the scripts of completion",
		ArgsUsage:       "WORDS...",
		Description:     "   soulbox " + completeCommandName + " soulbox exec ''",
		Hidden:          true,
		SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			words := c.Args().Slice()
			if len(words) < 2 {
				return nil
			}
			for _, w := range complete(c.App, words[1:], completer{c}.values) {
				if err := printLine(c.App.Writer, w); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// valueKind is what a flag or an argument takes.
type valueKind string

// The kinds that something is known of; of all others the shell completes files.
const (
	kindSandbox   valueKind = "sandbox"
	kindExecution valueKind = "execution"
	kindLanguage  valueKind = "language"
	kindShell     valueKind = "shell"
	kindColour    valueKind = "colour"
	kindImage     valueKind = "image"
	kindCopy      valueKind = "copy" // a file, or a sandbox with a colon after it
)

// argumentKind says what the n-th argument, from 0, of a command is.
func argumentKind(path string, n int) valueKind {
	switch path {
	case "sandbox rm", "sandbox stop", "sandbox pause", "sandbox resume", "sandbox get", "stats":
		return kindSandbox
	case "sandbox timeout", "sandbox logs", "exec", "shell", "attach", "top", "watch":
		if n == 0 {
			return kindSandbox
		}
	case "cp":
		return kindCopy
	case "image inspect", "image rm":
		return kindImage
	case "image export":
		if n == 0 {
			return kindImage
		}
	case "image build":
		return kindLanguage
	case "logs":
		if n == 0 {
			return kindExecution
		}
	case "lang show", "lang test":
		return kindLanguage
	case "completion":
		return kindShell
	}
	return ""
}

// flagKind says what the value of a flag is.
func flagKind(name string) valueKind {
	switch name {
	case "language":
		return kindLanguage
	case colourFlagName:
		return kindColour
	case "image":
		return kindImage
	}
	return ""
}

// complete returns what the last of words can become: commands, flags, or what values knows. The other words lead to the
// command; the program's own name is not among them.
func complete(app *cli.App, words []string, values func(valueKind) []string) []string {
	last := words[len(words)-1]
	at, commands := &cli.Command{Flags: app.Flags}, app.Commands
	var path []string
	arguments, expects := 0, valueKind("")
	inFlag, onlyArguments := false, false
	for _, w := range words[:len(words)-1] {
		switch {
		case inFlag:
			inFlag = false
		case onlyArguments:
			arguments++
		case w == "--":
			onlyArguments = true
		case strings.HasPrefix(w, "-") && w != "-":
			expects, inFlag = flagValue(at, w)
		default:
			if next := findCommand(commands, w); next != nil && arguments == 0 {
				at, commands, path = next, next.Subcommands, append(path, next.Name)
				continue
			}
			arguments++
			onlyArguments = true // what follows the first argument is no flag of this command
		}
	}
	var found []string
	switch {
	case inFlag:
		found = values(expects)
	case strings.HasPrefix(last, "-") && !onlyArguments:
		found = flagNames(at)
	case len(commands) > 0 && arguments == 0:
		for _, c := range commands {
			if !c.Hidden {
				found = append(found, c.Name)
			}
		}
	default:
		found = values(argumentKind(strings.Join(path, " "), arguments))
	}
	found = slices.DeleteFunc(slices.Clone(found), func(s string) bool { return !strings.HasPrefix(s, last) })
	slices.Sort(found)
	return slices.Compact(found)
}

func findCommand(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

// flagValue tells whether a word is a flag whose value is the next word, and of which kind that is.
func flagValue(c *cli.Command, word string) (valueKind, bool) {
	name := strings.TrimLeft(word, "-")
	if strings.Contains(name, "=") {
		return "", false
	}
	if !strings.HasPrefix(word, "--") && len(name) > 1 {
		name = name[len(name)-1:] // of short ones together, the last can take a value
	}
	for _, f := range c.Flags {
		doc, ok := f.(cli.DocGenerationFlag)
		if ok && slices.Contains(f.Names(), name) && doc.TakesValue() {
			return flagKind(f.Names()[0]), true
		}
	}
	return "", false
}

func flagNames(c *cli.Command) []string {
	out := []string{"--help"}
	for _, f := range c.Flags {
		for _, name := range f.Names() {
			if len(name) > 1 {
				out = append(out, "--"+name)
			}
		}
	}
	return out
}

// completer asks a daemon.
type completer struct{ c *cli.Context }

// values returns what is known of a kind. Whatever goes wrong, nothing is known.
func (k completer) values(kind valueKind) []string {
	switch kind {
	case kindShell:
		return []string{"bash", "fish", "zsh"}
	case kindColour:
		return []string{colourAuto, colourAlways, colourNever}
	case "":
		return nil
	}
	ctx, cancel := context.WithTimeout(k.c.Context, completionWait)
	defer cancel()
	daemon, err := completionDaemon(ctx)
	var found []string
	if err == nil {
		found, err = k.ask(ctx, daemon, kind)
	}
	switch {
	case err == nil:
		return found
	case kind == kindLanguage: // soulbox run does without a daemon
		return builtinLanguages()
	}
	return nil
}

// builtinLanguages returns the names and aliases of the languages that this program brings.
func builtinLanguages() (names []string) {
	catalog, err := images.Load()
	if err != nil {
		return nil
	}
	for _, r := range catalog.All() {
		names = append(append(names, r.Name), r.Aliases...)
	}
	return names
}

// completionDaemon finds the daemon that the environment names.
func completionDaemon(ctx context.Context) (*client.Client, error) {
	var daemon *client.Client
	app := &cli.App{Writer: io.Discard, ErrWriter: io.Discard, Flags: clientFlags(), ExitErrHandler: func(*cli.Context, error) {},
		Action: func(c *cli.Context) (err error) {
			daemon, err = findDaemon(ctx, c)
			return err
		}}
	err := app.RunContext(ctx, []string{"soulbox"})
	if err == nil && daemon == nil {
		err = errors.New("no daemon")
	}
	return daemon, err
}

func (k completer) ask(ctx context.Context, daemon *client.Client, kind valueKind) (out []string, err error) {
	switch kind {
	case kindSandbox, kindCopy:
		list, err := listSandboxes(ctx, daemon, &pb.ListSandboxesRequest{Alive: true})
		colon := map[bool]string{true: ":"}[kind == kindCopy]
		for _, s := range list {
			out = append(out, s.GetId()+colon)
			if name := s.GetLabels()[nameLabel]; name != "" {
				out = append(out, name+colon)
			}
		}
		return out, err
	case kindExecution:
		list, err := listExecutions(ctx, daemon, &pb.ListExecutionsRequest{}, 100)
		for _, x := range list {
			out = append(out, x.GetId())
		}
		return out, err
	case kindImage:
		list, err := daemon.Images.ListImages(ctx, &pb.ListImagesRequest{})
		out = append(out, "host")
		for _, i := range list.GetImages() {
			out = append(out, i.GetName())
		}
		return out, err
	case kindLanguage:
		list, err := daemon.Languages.ListLanguages(ctx, &pb.ListLanguagesRequest{})
		for _, l := range list.GetLanguages() {
			out = append(append(out, l.GetName()), l.GetAliases()...)
		}
		return out, err
	}
	return nil, nil
}
