package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// row is one line of the table.
type row struct {
	language, verdict, output string
	wall, cpu                 time.Duration // of both steps
	peak                      int64         // bytes; of the run step
	right                     bool
}

// newRow judges one answer. err is why there is none.
func newRow(language string, x *execution, err error) row {
	if err != nil {
		return row{language: language, verdict: "-", output: err.Error()}
	}
	r := row{language: language, verdict: strings.ToLower(strings.TrimPrefix(x.Verdict, "VERDICT_")), peak: x.Usage.PeakMemoryBytes}
	add := func(u usage) {
		r.wall += time.Duration(u.WallTime)
		r.cpu += time.Duration(u.UserTime + u.SystemTime)
	}
	add(x.Usage)
	output := x.Stdout
	if x.Compile != nil {
		add(x.Compile.Usage)
		if x.Verdict == "VERDICT_COMPILE_ERROR" {
			output = x.Compile.Stderr
		}
	}
	r.right = x.Verdict == "VERDICT_OK" && x.Stdout == stdout
	if !r.right && output == "" {
		output = x.Stderr
	}
	r.output = strings.Join(strings.Fields(output), " ")
	return r
}

// table prints rows as they come, so that a slow language does not hide the others.
type table struct{ w io.Writer }

func newTable(w io.Writer) table {
	fmt.Fprintf(w, "%-11s %-14s %8s %8s %9s  %s\n", "language", "verdict", "wall", "CPU", "peak", "output")
	return table{w}
}

func (t table) print(r row) {
	const most = 120 // characters of output, which may be a compiler's
	output := []rune(r.output)
	if len(output) > most {
		output = append(output[:most-1], '…')
	}
	mark := ""
	if !r.right {
		mark = "  <- wrong"
	}
	fmt.Fprintf(t.w, "%-11s %-14s %8s %8s %9s  %s%s\n", r.language, r.verdict, milliseconds(r.wall), milliseconds(r.cpu),
		fmt.Sprintf("%.1f MiB", float64(r.peak)/(1<<20)), string(output), mark)
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
}
