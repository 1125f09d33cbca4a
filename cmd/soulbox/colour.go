package main

import (
	"fmt"
	"io"
	"os"

	"github.com/fatih/color"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// When colours are used, as --color says.
const (
	colourAuto   = "auto"
	colourAlways = "always"
	colourNever  = "never"
)

// colourFlagName is American, as with other programs.
const colourFlagName = "color"

// colourFlag is the flag of all commands, before the command's name. Its value goes to mode as well, for errors that no
// command sees.
func colourFlag(mode *string) cli.Flag {
	return &cli.StringFlag{Name: colourFlagName, Value: colourAuto, Destination: mode, EnvVars: []string{"SOULBOX_COLOR"},
		Usage: "`WHEN` to colour what soulbox itself says: auto (on terminals, unless NO_COLOR is set or TERM is dumb), always or never",
		Action: func(_ *cli.Context, value string) error {
			switch value {
			case colourAuto, colourAlways, colourNever, "": // an empty variable is one that is not set
				return nil
			}
			return fmt.Errorf("--%s %q is not %s, %s or %s", colourFlagName, value, colourAuto, colourAlways, colourNever)
		}}
}

// hasColour decides for one stream. What was asked for by flag comes before NO_COLOR, which is for all programs.
func hasColour(mode string, terminal bool, env func(string) string) bool {
	switch mode {
	case colourAlways:
		return true
	case colourNever:
		return false
	}
	return terminal && env("NO_COLOR") == "" && env("TERM") != "dumb"
}

// painter gives what soulbox itself says on one stream its colours. The zero value gives none.
type painter struct{ on bool }

// painterOf returns the painter for w, one of the command's streams.
func painterOf(c *cli.Context, w io.Writer) painter { return newPainter(c.String(colourFlagName), w) }

func newPainter(mode string, w io.Writer) painter {
	f, ok := w.(*os.File)
	return painter{hasColour(mode, ok && term.IsTerminal(int(f.Fd())), os.Getenv)}
}

// tone is what a word means to a user.
type tone int

const (
	plain tone = iota
	good
	doubtful // it works, or was stopped as it should be
	bad
	faint // over, or of no interest
)

func (p painter) paint(t tone, text string) string {
	attribute, ok := map[tone]color.Attribute{good: color.FgGreen, doubtful: color.FgYellow, bad: color.FgRed, faint: color.Faint}[t]
	if !p.on || !ok || text == "" {
		return text
	}
	c := color.New(attribute)
	c.EnableColor() // the library's own guess is about standard output alone
	return c.Sprint(text)
}

// toneOf returns what a verdict, a state, or the status of a check means.
func toneOf(word string) tone {
	switch word {
	case checkOK, "running", "good":
		return good
	case "time limit", "cpu limit", "memory limit", "output limit", "disk limit", "process limit", checkWarning, "queued", "creating", "paused":
		return doubtful
	case "compile error", "runtime error", "signalled", "internal", checkFailed, "missing":
		return bad
	case "cancelled", "stopped", "revoked", checkUnknown:
		return faint
	}
	return plain
}

// sayError prints the one line about an error.
func sayError(w io.Writer, p painter, err error) {
	fmt.Fprintln(w, p.paint(bad, "soulbox:"), err)
}

// sayOutcome prints the one line about a program's end.
func sayOutcome(w io.Writer, p painter, line string) {
	fmt.Fprintln(w, "soulbox:", p.paint(doubtful, line))
}
