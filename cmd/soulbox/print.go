package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/soulbox/soulbox/rpc/codec"
)

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON"}
}

// noArgs refuses arguments of a command that takes none.
func noArgs(c *cli.Context) error {
	if c.NArg() == 0 {
		return nil
	}
	return fmt.Errorf("%s takes no arguments, got %q; see %s --help", c.Command.HelpName, c.Args().Slice(), c.Command.HelpName)
}

// oneArg returns the only argument, which is called name in the error when there is none.
func oneArg(c *cli.Context, name string) (string, error) {
	if c.NArg() != 1 {
		return "", fmt.Errorf("%s takes one %s, got %q; see %s --help", c.Command.HelpName, name, c.Args().Slice(), c.Command.HelpName)
	}
	return c.Args().First(), nil
}

// printJSON prints v, indented for people.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

// printMessage prints m as the API spells it, indented for people.
func printMessage(w io.Writer, m proto.Message) error {
	b, err := marshalMessage(m)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	out.WriteByte('\n')
	if _, err := out.WriteTo(w); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

// marshalMessage returns the JSON that the API would send.
func marshalMessage(m proto.Message) ([]byte, error) { return codec.JSON{}.Marshal(m) }

// printTable prints rows below a header, in columns. On a terminal no line is longer than it is wide.
func printTable(w io.Writer, p painter, header []string, rows [][]string) error {
	var out bytes.Buffer
	t := tabwriter.NewWriter(&out, 0, 0, tableGap, ' ', 0)
	var cells [][]string
	for _, row := range append([][]string{header}, rows...) {
		line := make([]string, len(row))
		for i, cell := range row {
			line[i] = printable(cell)
		}
		cells = append(cells, line)
		fmt.Fprintln(t, strings.Join(line, "\t")) // into memory
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	width := terminalWidth(w)
	for i, line := range strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n") {
		line = fit(strings.TrimRight(line, " "), width)
		if i > 0 {
			line = paintRow(p, line, cells, i)
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return fmt.Errorf("print table: %w", err)
		}
	}
	return nil
}

// tableGap is how many spaces are between columns.
const tableGap = 2

// paintRow gives the states in the n-th line of a table their colours, when it has been laid out and cut: what makes a
// colour has no width.
func paintRow(p painter, line string, cells [][]string, n int) string {
	runes := []rune(line)
	var out strings.Builder
	done, start := 0, 0
	for i, name := range cells[0] {
		if end := min(start+utf8.RuneCountInString(cells[n][i]), len(runes)); start < end && slices.Contains([]string{"STATE", "VERDICT", "VERSION"}, name) {
			out.WriteString(string(runes[done:start]))
			out.WriteString(p.paint(toneOf(cells[n][i]), string(runes[start:end])))
			done = end
		}
		widest := 0
		for _, row := range cells {
			widest = max(widest, utf8.RuneCountInString(row[i]))
		}
		start += widest + tableGap
	}
	return out.String() + string(runes[done:])
}

// fit shortens a line to width characters, visibly; 0 is any width.
func fit(line string, width int) string {
	runes := []rune(line)
	if width <= 0 || len(runes) <= width {
		return line
	}
	return string(runes[:width-1]) + "…"
}

// printable takes the control characters out of a text: what others named must not move the terminal's cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// terminalWidth is 0 where w is no terminal.
func terminalWidth(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// enumName makes "time limit" of VERDICT_TIME_LIMIT.
func enumName(value, prefix string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(value, prefix)), "_", " ")
}

func showDuration(d *durationpb.Duration) string {
	v := d.AsDuration()
	switch {
	case d == nil:
		return "-"
	case v < time.Second:
		return v.Round(100 * time.Microsecond).String()
	default:
		return v.Round(10 * time.Millisecond).String()
	}
}

// showBytes uses the unit that leaves few digits: "64 MiB", "12.3 MiB".
func showBytes(n int64) string {
	v, unit := float64(n), "B"
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if v < 1024 {
			break
		}
		v, unit = v/1024, u
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + " " + unit
}

func showAge(t *timestamppb.Timestamp, now time.Time) string {
	if t == nil {
		return "-"
	}
	switch age := now.Sub(t.AsTime()); {
	case age < time.Minute:
		return fmt.Sprintf("%d s", max(0, int(age.Seconds())))
	case age < time.Hour:
		return fmt.Sprintf("%d min", int(age.Minutes()))
	case age < 48*time.Hour:
		return fmt.Sprintf("%d h", int(age.Hours()))
	default:
		return fmt.Sprintf("%d d", int(age.Hours()/24))
	}
}
