package main

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
)

// logSwitch is a log whose level and format can change while it is written to.
type logSwitch struct {
	level slog.LevelVar
	json  atomic.Bool
	w     io.Writer
}

// newLogSwitch returns a log to w at level info, as text.
func newLogSwitch(w io.Writer) *logSwitch { return &logSwitch{w: w} }

// set changes level and format.
func (s *logSwitch) set(level slog.Level, format string) {
	s.level.Set(level)
	s.json.Store(format == "json")
}

// logger returns the logger. All that is derived from it follows set.
func (s *logSwitch) logger() *slog.Logger {
	o := &slog.HandlerOptions{Level: &s.level}
	return slog.New(logHandler{s, slog.NewTextHandler(s.w, o), slog.NewJSONHandler(s.w, o)})
}

// logHandler derives a handler of each format, so that both know all attributes. It implements [slog.Handler].
type logHandler struct {
	s          *logSwitch
	text, json slog.Handler
}

func (h logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.s.level.Level() }

func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	if h.s.json.Load() {
		return h.json.Handle(ctx, r)
	}
	return h.text.Handle(ctx, r)
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.s, h.text.WithAttrs(attrs), h.json.WithAttrs(attrs)}
}

func (h logHandler) WithGroup(name string) slog.Handler {
	return logHandler{h.s, h.text.WithGroup(name), h.json.WithGroup(name)}
}
