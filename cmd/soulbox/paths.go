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

// Where things of the user uid lie when nothing else was said. In the wide namespace everybody is root: there uid is what
// the supervisor's session says.

func defaultStateDir(uid int) string {
	return userDir(uid, "/var/lib", "XDG_STATE_HOME", ".local/state")
}

// defaultCacheDir is where what can be made again is kept.
func defaultCacheDir(uid int) string { return userDir(uid, "/var/cache", "XDG_CACHE_HOME", ".cache") }

func defaultConfigFile(uid int) string {
	return filepath.Join(userDir(uid, "/etc", "XDG_CONFIG_HOME", ".config"), "soulbox.toml")
}

// defaultLanguagesDir is where operators put recipes of their own.
func defaultLanguagesDir(uid int) string {
	return filepath.Join(userDir(uid, "/etc", "XDG_CONFIG_HOME", ".config"), "languages.d")
}

func userDir(uid int, system, variable, below string) string {
	if uid == 0 {
		return filepath.Join(system, "soulbox")
	}
	if dir := os.Getenv(variable); filepath.IsAbs(dir) {
		return filepath.Join(dir, "soulbox")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), fmt.Sprintf("soulbox-%d", uid))
	}
	return filepath.Join(home, below, "soulbox")
}
