package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/soulbox/soulbox/systemd"
)

// The formats of the log.
const (
	logAuto    = "auto" // to the journal where standard error goes there, else text
	logText    = "text"
	logJSON    = "json"
	logJournal = "journal"
)

// logSwitch is a log whose level and format can change while it is written to. Its owner closes it.
type logSwitch struct {
	level     slog.LevelVar
	format    atomic.Pointer[string] // one of the above but logAuto
	w         io.Writer
	journal   *systemd.Journal // nil where there is none
	onJournal bool             // w goes there
}

// newLogSwitch returns a log to w at level info, as text.
func newLogSwitch(w io.Writer) *logSwitch {
	s := &logSwitch{w: w}
	s.set(slog.LevelInfo, logText)
	return s
}

// openLog returns the log of this process on standard error, with the journal where there is one.
func openLog(level slog.Level, format string) *logSwitch {
	s := newLogSwitch(os.Stderr)
	if j, err := systemd.OpenJournal(); err == nil { // most hosts outside of systemd have none
		s.journal, s.onJournal = j, systemd.StderrIsJournal()
	}
	s.set(level, format)
	if format == logJournal && s.journal == nil {
		s.logger().Warn("this host has no journal: the log is text")
	}
	return s
}

// Close ends the log's connection to the journal. What is logged later is text.
func (s *logSwitch) Close() error {
	if s.journal == nil {
		return nil
	}
	s.set(s.level.Level(), logText)
	return s.journal.Close()
}

// set changes level and format.
func (s *logSwitch) set(level slog.Level, format string) {
	s.level.Set(level)
	if format == logAuto && s.onJournal {
		format = logJournal
	}
	if format == logAuto || format == logJournal && s.journal == nil {
		format = logText
	}
	s.format.Store(&format)
}

// logger returns the logger. All that is derived from it follows set.
func (s *logSwitch) logger() *slog.Logger {
	o := &slog.HandlerOptions{Level: &s.level}
	text := slog.NewTextHandler(s.w, o)
	h := logHandler{s, map[string]slog.Handler{logText: text, logJSON: slog.NewJSONHandler(s.w, o)}}
	if s.journal != nil {
		h.formats[logJournal] = systemd.NewHandler(s.journal, text, &s.level)
	}
	return slog.New(h)
}

// logHandler derives a handler of each format, so that all know all attributes. It implements [slog.Handler].
type logHandler struct {
	s       *logSwitch
	formats map[string]slog.Handler // never changed
}

func (h logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.s.level.Level() }

func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	return h.formats[*h.s.format.Load()].Handle(ctx, r)
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.derive(func(f slog.Handler) slog.Handler { return f.WithAttrs(attrs) })
}

func (h logHandler) WithGroup(name string) slog.Handler {
	return h.derive(func(f slog.Handler) slog.Handler { return f.WithGroup(name) })
}

func (h logHandler) derive(from func(slog.Handler) slog.Handler) slog.Handler {
	next := logHandler{h.s, make(map[string]slog.Handler, len(h.formats))}
	for name, f := range h.formats {
		next.formats[name] = from(f)
	}
	return next
}
