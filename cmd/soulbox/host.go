package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// hostMemory reads MemTotal and MemAvailable, in bytes.
func hostMemory() (total, available int64, err error) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, 0, fmt.Errorf("read the host's memory: %w", err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		var kib int64
		key, value, _ := strings.Cut(s.Text(), ":")
		if _, err := fmt.Sscanf(value, "%d kB", &kib); err != nil {
			continue
		}
		switch key {
		case "MemTotal":
			total = kib << 10
		case "MemAvailable":
			available = kib << 10
		}
	}
	if err := s.Err(); err != nil || total == 0 || available == 0 {
		return 0, 0, fmt.Errorf("read the host's memory: MemTotal %d, MemAvailable %d: %w", total, available, err)
	}
	return total, available, nil
}

// memoryFree reads MemAvailable, in bytes.
func memoryFree() (int64, error) {
	_, available, err := hostMemory()
	return available, err
}

// diskFree returns the bytes that this user can still write below dir.
func diskFree(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}
