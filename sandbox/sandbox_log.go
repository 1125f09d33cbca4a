package sandbox

import "time"

// LogLevel is how much an entry of a sandbox's log matters. Values are append-only, they are stored.
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

// keepEntries is how many entries a sandbox's log keeps: it is a part of the record, which is written at each change.
const keepEntries = 200

// note adds to the sandbox's log.
func (s *Sandbox) note(level LogLevel, message string) {
	s.Log = append(s.Log, LogEntry{time.Now().UTC(), level, message})
	s.Log = s.Log[max(0, len(s.Log)-keepEntries):]
}
