package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/cmd/soulbox/config"
	"github.com/soulbox/soulbox/images"
)

// configVariable names the configuration file.
const configVariable = "SOULBOX_CONFIG"

// settingFlags are the flags of every setting of a daemon, and the one that names its file. Their values are read by
// loadConfig alone, which knows what was given and reports everything that is wrong at once.
func settingFlags() []cli.Flag {
	flags := []cli.Flag{&cli.StringFlag{Name: "config", DefaultText: defaultConfigFile(os.Getuid()) + " if it is there",
		Usage: "`FILE` with settings, see docs/configuration.md [$" + configVariable + "]"}}
	for _, s := range config.Settings() {
		usage := s.Help + " [$" + s.Env() + "]"
		if s.Value.Kind == config.Bool {
			flags = append(flags, &cli.BoolFlag{Name: s.Flag, Usage: usage})
			continue
		}
		fallback := s.Default
		if own, ok := userDefaults(os.Getuid())[s.Key]; ok {
			fallback = own
		}
		if fallback == "" {
			fallback = s.Unset
		}
		if s.Value.Kind == config.Choice {
			usage = s.Help + ": " + s.Value.Range + " [$" + s.Env() + "]"
		}
		flags = append(flags, &cli.StringFlag{Name: s.Flag, Usage: usage, DefaultText: fallback})
	}
	return flags
}

// userDefaults are the defaults that depend on whose daemon it is, by key.
func userDefaults(uid int) map[string]string {
	return map[string]string{"state_dir": defaultStateDir(uid), "cache_dir": defaultCacheDir(uid)}
}

// loadConfig puts together the configuration of a daemon of the user uid from c's flags, the environment and the file.
func loadConfig(c *cli.Context, uid int) (*config.Effective, error) {
	in := configInput(uid, c.String("config"))
	in.Flag = func(name string) (string, bool) {
		if !c.IsSet(name) {
			return "", false
		}
		if b, ok := c.Value(name).(bool); ok {
			return strconv.FormatBool(b), true
		}
		return c.String(name), true
	}
	return config.Load(in)
}

// languagesOf returns the directory of the operator's languages, "" for none: only one that somebody named must exist.
func languagesOf(e *config.Effective, uid int) string {
	if e.Sources["languages_dir"].Kind != config.FromDefault {
		return e.LanguagesDir
	}
	dir := defaultLanguagesDir(uid)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return dir
}

// configInput is what a configuration of the user uid is put together from beside flags. file is the one that was named;
// without one it is the one that the environment names, or the default one, which may be absent.
func configInput(uid int, file string) config.Input {
	in := config.Input{Path: file, Explicit: true, Env: os.LookupEnv, Defaults: userDefaults(uid), Runtimes: runtimeNames(),
		Languages: func(e *config.Effective) ([]string, error) {
			catalog, err := images.LoadDir(languagesOf(e, uid))
			if err != nil {
				return nil, err
			}
			return catalog.Names(), nil
		}}
	if in.Path == "" {
		in.Path = os.Getenv(configVariable)
	}
	if in.Path == "" {
		in.Path, in.Explicit = defaultConfigFile(uid), false
	}
	return in
}

// stateDir is where the command line looks for the daemon of this machine: where the flag or the environment says, or
// else the configuration file. One that is wrong is the daemon's business.
func stateDir(c *cli.Context) string {
	if c.IsSet("state-dir") {
		return c.Path("state-dir")
	}
	in := configInput(os.Getuid(), "")
	in.Languages = nil // of no interest here
	e, err := config.Load(in)
	if err != nil || !filepath.IsAbs(e.StateDir) {
		return c.Path("state-dir")
	}
	return e.StateDir
}
