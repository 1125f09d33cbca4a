// Package config knows every setting of a daemon, and where its value comes from.
//
// One table ([Settings], and [KeySettings] for single API keys) says of each setting its key in the file, its flag, type,
// range, default and meaning. Flags, environment variables, the file's grammar, what `soulbox config` prints and the
// table in docs/configuration.md are all made from it: a new setting is a field of [Config] and one entry.
//
// [Load] puts a [Config] together: a flag comes before the environment, that before the file, that before the default.
// It reports every problem at once, as [Problems].
//
// The package never acts on a setting.
package config
