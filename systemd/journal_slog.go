package systemd

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// Handler writes log records to the journal: the message with its attributes as text, which journalctl shows, and each
// attribute as a field of its own, which it finds ("id" becomes SOULBOX_ID). It implements [slog.Handler]. What the
// journal does not take goes to the fallback.
type Handler struct {
	journal  *Journal
	fallback slog.Handler
	level    slog.Leveler
	groups   []string
	fields   []Field
	text     slog.Handler // writes the attributes into line
	line     *lineBuffer
}

// lineBuffer is what the text of one record is made in.
type lineBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// NewHandler returns a handler of records from a level on.
func NewHandler(j *Journal, fallback slog.Handler, level slog.Leveler) *Handler {
	line := &lineBuffer{}
	noHead := func(groups []string, a slog.Attr) slog.Attr {
		// Time and level are the journal's own, the message stands before.
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
			return slog.Attr{}
		}
		return a
	}
	return &Handler{journal: j, fallback: fallback, level: level, line: line,
		text: slog.NewTextHandler(&line.b, &slog.HandlerOptions{Level: slog.LevelDebug - 1<<20, ReplaceAttr: noHead})}
}

// Enabled implements [slog.Handler].
func (h *Handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// Handle implements [slog.Handler].
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	text, err := h.message(ctx, r)
	if err != nil {
		return err
	}
	fields := append([]Field{{"MESSAGE", text}, priorityOf(r.Level).Field(), {"SYSLOG_IDENTIFIER", "soulbox"}}, h.fields...)
	r.Attrs(func(a slog.Attr) bool {
		fields = appendAttr(fields, h.groups, a)
		return true
	})
	if err := h.journal.Send(fields); err != nil {
		return h.fallback.Handle(ctx, r)
	}
	return nil
}

// message is a record's message with its attributes.
func (h *Handler) message(ctx context.Context, r slog.Record) (string, error) {
	h.line.mu.Lock()
	defer h.line.mu.Unlock()
	h.line.b.Reset()
	if err := h.text.Handle(ctx, r); err != nil {
		return "", fmt.Errorf("format a log record: %w", err)
	}
	return strings.TrimSuffix(r.Message+" "+strings.TrimSuffix(h.line.b.String(), "\n"), " "), nil
}

// WithAttrs implements [slog.Handler].
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.fields = slices.Clone(h.fields)
	for _, a := range attrs {
		next.fields = appendAttr(next.fields, h.groups, a)
	}
	next.text, next.fallback = h.text.WithAttrs(attrs), h.fallback.WithAttrs(attrs)
	return &next
}

// WithGroup implements [slog.Handler].
func (h *Handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	next := *h
	next.groups = append(slices.Clone(h.groups), name)
	next.text, next.fallback = h.text.WithGroup(name), h.fallback.WithGroup(name)
	return &next
}

// appendAttr adds an attribute's fields: one, or those of a group.
func appendAttr(fields []Field, groups []string, a slog.Attr) []Field {
	v := a.Value.Resolve()
	if v.Kind() != slog.KindGroup {
		if a.Key == "" {
			return fields
		}
		return append(fields, Field{FieldName(append(slices.Clone(groups), a.Key)...), v.String()})
	}
	if a.Key != "" {
		groups = append(slices.Clone(groups), a.Key)
	}
	for _, member := range v.Group() {
		fields = appendAttr(fields, groups, member)
	}
	return fields
}

// priorityOf translates a level.
func priorityOf(l slog.Level) Priority {
	switch {
	case l >= slog.LevelError:
		return PriorityError
	case l >= slog.LevelWarn:
		return PriorityWarning
	case l >= slog.LevelInfo:
		return PriorityInfo
	}
	return PriorityDebug
}
