package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// Names of files in the state directory.
const (
	storeDir       = "store"
	endpointFile   = "endpoint"        // the daemon's URL, while it runs
	socketPathFile = "endpoint.socket" // the path of its socket, likewise
)

// defaultStateDir is where a daemon keeps its state when nothing else was said.
func defaultStateDir() string { return userDir("/var/lib", "XDG_STATE_HOME", ".local/state") }

// defaultCacheDir is where what can be made again is kept.
func defaultCacheDir() string { return userDir("/var/cache", "XDG_CACHE_HOME", ".cache") }

// defaultLanguagesDir is where operators put recipes of their own.
func defaultLanguagesDir() string {
	return filepath.Join(userDir("/etc", "XDG_CONFIG_HOME", ".config"), "languages.d")
}

func userDir(system, variable, below string) string {
	if os.Getuid() == 0 {
		return filepath.Join(system, "soulbox")
	}
	if dir := os.Getenv(variable); filepath.IsAbs(dir) {
		return filepath.Join(dir, "soulbox")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), fmt.Sprintf("soulbox-%d", os.Getuid()))
	}
	return filepath.Join(home, below, "soulbox")
}
