package store

import (
	"fmt"
	"log/slog"
)

// quietLogger hands what Pebble says to slog. Its routine is of no interest to an operator.
type quietLogger struct{ l *slog.Logger }

func (q quietLogger) Infof(format string, args ...any) {
	q.l.Debug("pebble", "text", fmt.Sprintf(format, args...))
}

func (q quietLogger) Errorf(format string, args ...any) {
	q.l.Error("store failed", "text", fmt.Sprintf(format, args...))
}

// Fatalf must not return: Pebble calls it when it can no longer tell what is on disk (a write-ahead log that cannot
// be synced). Going on would acknowledge what may be lost, so the process ends; the next one replays the log.
func (q quietLogger) Fatalf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	q.l.Error("store cannot go on", "text", text)
	panic("store cannot go on: " + text)
}
