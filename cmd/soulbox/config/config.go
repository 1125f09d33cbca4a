package config

import (
	"log/slog"
	"time"

	"github.com/soulbox/soulbox/sandbox"
)

// Config holds the value of every setting. See the table in [Settings] for units and defaults.
type Config struct {
	Listen       string
	Socket       string // empty: the caller decides
	StateDir     string
	CacheDir     string
	LanguagesDir string // empty: none
	Runtime      string
	Strict       bool
	Drain        time.Duration
	MaxQueue     int
	MaxRunning   int // 0: the caller decides
	MaxSandboxes int
	Memory       int64 // 0: the caller decides
	DiskFloor    int64
	LogLevel     slog.Level
	LogFormat    string
	Images       Images
	Policy       sandbox.Policy
	Retention    Retention
}

// Images says how images are made and got, and what one may unpack to.
type Images struct {
	Suite, Mirror string // of Debian; empty: package debian's own
	Insecure      []string
	MaxBytes      int64
	MaxEntries    int64
	MaxRatio      int64
}

// Retention says what is kept of executions that are done and of sandboxes that have ended, of each tenant. Zero fields
// bound nothing.
type Retention struct {
	MaxAge       time.Duration // since their end
	MaxCount     int64         // of executions, and of sandboxes
	MaxBytes     int64         // of executions, as stored
	OutputMaxAge time.Duration // of executions, since their end; then their output goes, the record stays
}
