package sandbox

import (
	"sync"
	"time"
)

// LogLevel is how much an entry of a sandbox's log matters.
type LogLevel int

// The levels.
const (
	LogInfo LogLevel = iota + 1
	LogWarn
)

// LogEntry is one thing that happened to a sandbox.
type LogEntry struct {
	At      time.Time
	Level   LogLevel
	Message string
}

// keepEntries is how many entries a sandbox's log keeps.
const keepEntries = 1000

// sandboxLog keeps the last things that happened to a sandbox under this daemon.
type sandboxLog struct {
	mu      sync.Mutex
	entries []LogEntry
}

func newSandboxLog() *sandboxLog { return &sandboxLog{} }

func (l *sandboxLog) add(level LogLevel, message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.entries) >= 2*keepEntries {
		l.entries = append(l.entries[:0], l.entries[keepEntries:]...)
	}
	l.entries = append(l.entries, LogEntry{time.Now().UTC(), level, message})
}

// last returns up to n entries, the newest last.
func (l *sandboxLog) last(n int) []LogEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = min(n, len(l.entries), keepEntries)
	return append([]LogEntry(nil), l.entries[len(l.entries)-n:]...)
}
