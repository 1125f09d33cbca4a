package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// TestLogSwitch: what was derived before a change follows it.
func TestLogSwitch(t *testing.T) {
	var b bytes.Buffer
	s := newLogSwitch(&b)
	log := s.logger().With("a", 1).WithGroup("g")
	for _, c := range []struct {
		level  slog.Level
		format string
		want   string // of the line at level warn, without its time; empty: none
	}{
		{slog.LevelInfo, "text", `level=WARN msg=m a=1 g.b=2`},
		{slog.LevelInfo, "json", `"level":"WARN","msg":"m","a":1,"g":{"b":2}}`},
		{slog.LevelError, "json", ""},
		{slog.LevelDebug, "text", `level=WARN msg=m a=1 g.b=2`},
	} {
		b.Reset()
		s.set(c.level, c.format)
		log.Warn("m", "b", 2)
		if got := strings.TrimSpace(b.String()); !strings.HasSuffix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("at level %v as %s: %q, want %q", c.level, c.format, got, c.want)
		}
	}
}
