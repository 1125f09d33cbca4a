package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Report is what a run of soulbench measured, and where.
type Report struct {
	Time time.Time    `json:"time"`
	CPUs int          `json:"cpus"`
	Arch string       `json:"arch"`
	Cold []ColdResult `json:"cold,omitempty"`
	Load *LoadResult  `json:"load,omitempty"`
}

// NewReport returns a report of this machine and moment without results.
func NewReport() Report {
	return Report{Time: time.Now().UTC().Truncate(time.Second), CPUs: runtime.NumCPU(), Arch: runtime.GOARCH}
}

// WriteMarkdown writes r as tables for readers.
func (r Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d CPUs, %s\n", r.Time.Format(time.DateTime), r.CPUs, r.Arch)
	if len(r.Cold) > 0 {
		b.WriteString("\n| language | runs | sandbox p50 ms | p90 | bare p50 ms | p90 | ratio |\n|---|---:|---:|---:|---:|---:|---:|\n")
		for _, c := range r.Cold {
			fmt.Fprintf(&b, "| %s | %d | %.1f | %.1f | %.1f | %.1f | %.2f |\n", c.Language, len(c.Sandbox.Samples),
				c.Sandbox.Median, c.Sandbox.P90, c.Bare.Median, c.Bare.P90, c.Ratio)
		}
	}
	if l := r.Load; l != nil {
		fmt.Fprintf(&b, "\n%d executions in %.1f s (%.1f/s): %d right, %d wrong, %d failed, %d refusals retried; p50 %.0f ms, p90 %.0f, p99 %.0f\n",
			l.Executions, l.Wall, float64(l.Executions)/l.Wall, l.Right, len(l.Wrong), len(l.Failed), l.Busy, l.Latency.Median, l.Latency.P90, l.Latency.P99)
		b.WriteString("\n| verdict | count |\n|---|---:|\n")
		for _, v := range slices.Sorted(maps.Keys(l.Verdicts)) {
			fmt.Fprintf(&b, "| %s | %d |\n", v, l.Verdicts[v])
		}
		for _, bad := range slices.Concat(l.Wrong, l.Failed) {
			fmt.Fprintf(&b, "- %s\n", strings.ReplaceAll(bad, "\n", " "))
		}
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write tables: %w", err)
	}
	return nil
}

// Save writes r as JSON to a file, in place of an older one.
func (r Report) Save(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
