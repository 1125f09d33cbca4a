package images

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Limits are a recipe's defaults for one step. A zero field sets none.
type Limits struct {
	WallTime  time.Duration
	CPUTime   time.Duration // user and system time of the whole process tree
	Memory    int64         // bytes
	Processes int64         // processes and threads at once
	OpenFiles int64         // descriptors of one process
	FileSize  int64         // bytes of one file
	Disk      int64         // bytes held in the step's tmpfs
	Inodes    int64         // files and directories held there
	Output    int64         // bytes of stdout and stderr together
}

// limitsFile is how limits are written in a recipe.
type limitsFile struct {
	WallTime  duration `toml:"wall_time"`
	CPUTime   duration `toml:"cpu_time"`
	Memory    size     `toml:"memory"`
	Processes int64    `toml:"processes"`
	OpenFiles int64    `toml:"open_files"`
	FileSize  size     `toml:"file_size"`
	Disk      size     `toml:"disk"`
	Inodes    int64    `toml:"inodes"`
	Output    size     `toml:"output"`
}

func (f limitsFile) limits() Limits {
	return Limits{
		WallTime: time.Duration(f.WallTime), CPUTime: time.Duration(f.CPUTime), Memory: int64(f.Memory),
		Processes: f.Processes, OpenFiles: f.OpenFiles, FileSize: int64(f.FileSize),
		Disk: int64(f.Disk), Inodes: f.Inodes, Output: int64(f.Output),
	}
}

// complete reports the first limit that l leaves open: every step of a recipe is bounded in every respect.
func (l Limits) complete() error {
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"wall_time", int64(l.WallTime)}, {"cpu_time", int64(l.CPUTime)}, {"memory", l.Memory},
		{"processes", l.Processes}, {"open_files", l.OpenFiles}, {"file_size", l.FileSize},
		{"disk", l.Disk}, {"inodes", l.Inodes}, {"output", l.Output},
	} {
		if f.value <= 0 {
			return fmt.Errorf("limit %s is %d, want more than 0", f.name, f.value)
		}
	}
	if l.Disk >= l.Memory {
		return fmt.Errorf("limit disk is %d, want less than memory (%d), which it counts against", l.Disk, l.Memory)
	}
	return nil
}

// duration is a time.Duration written as "10s".
type duration time.Duration

// UnmarshalText reads what [time.ParseDuration] reads.
func (d *duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("read duration: %w", err)
	}
	*d = duration(v)
	return nil
}

// size is a number of bytes written as "64MiB", "4KiB", "1GiB" or "100".
type size int64

// UnmarshalText reads a whole number with one of the suffixes KiB, MiB and GiB, or none.
func (s *size) UnmarshalText(text []byte) error {
	digits, shift := string(text), 0
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if rest, ok := strings.CutSuffix(digits, unit); ok {
			digits, shift = rest, 10*(i+1)
			break
		}
	}
	v, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || v < 0 || v > 1<<62>>shift {
		return fmt.Errorf("read size %q: want a number of bytes such as 64MiB", text)
	}
	*s = size(v << shift)
	return nil
}
