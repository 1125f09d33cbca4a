package config

import (
	"log/slog"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/soulbox/soulbox/sandbox"
)

// Settings returns the table of all settings of a daemon, in the order of documents. Add yours here; one with a dotted key
// belongs beside the others of its table.
func Settings() []Setting[Config] {
	return slices.Concat([]Setting[Config]{
		{Key: "listen", Flag: "listen", Default: "127.0.0.1:4444", Value: text(func(c *Config) *string { return &c.Listen }),
			Help: "`ADDRESS` host:port to listen on; port 0 takes a free one"},
		{Key: "socket", Flag: "socket", Unset: "`soulbox.sock` in the state directory", Value: optional(func(c *Config) *string { return &c.Socket }),
			Help: "`PATH` of a socket on which the daemon's own user needs no key, or none"},
		{Key: "state_dir", Flag: "state-dir", Unset: "`/var/lib/soulbox` for root, else `$XDG_STATE_HOME/soulbox`", Value: text(func(c *Config) *string { return &c.StateDir }),
			Help: "`DIR` that holds all state; one daemon each"},
		{Key: "cache_dir", Flag: "cache-dir", Unset: "`/var/cache/soulbox` for root, else `$XDG_CACHE_HOME/soulbox`", Value: text(func(c *Config) *string { return &c.CacheDir }),
			Help: "`DIR` for what can be made again; shared by daemons"},
		{Key: "languages_dir", Flag: "languages-dir", Unset: "`/etc/soulbox/languages.d` for root, else `$XDG_CONFIG_HOME/soulbox/languages.d`, if it is there",
			Value: optional(func(c *Config) *string { return &c.LanguagesDir }), Help: "`DIR` with more languages, a file NAME.toml each; see docs/languages.md"},
		{Key: "runtime", Flag: "runtime", Default: "runc", Value: choice(func(c *Config) *string { return &c.Runtime }, "runc", "runsc"),
			Help: "`RUNTIME` of sandboxes for which nobody names one"},
		{Key: "strict", Flag: "strict", Default: "false", Value: boolean(func(c *Config) *bool { return &c.Strict }),
			Help: "refuse to start when a limit cannot be enforced or isolation is weakened"},
		{Key: "drain", Flag: "drain", Default: "10s", Live: true, Value: duration(func(c *Config) *time.Duration { return &c.Drain }, time.Millisecond),
			Help: "`TIME` that running executions are granted when the daemon stops"},
		{Key: "max_queue", Flag: "max-queue", Default: "1000", Live: true, Value: count(func(c *Config) *int { return &c.MaxQueue }, 1, 1_000_000),
			Help: "`NUMBER` of executions that may wait; more get 429"},
		{Key: "max_running", Flag: "max-running", Unset: "4 per CPU", Live: true, Value: zeroUnsets(count(func(c *Config) *int { return &c.MaxRunning }, 1, 1_000_000)),
			Help: "`NUMBER` of sandboxes at once"},
		{Key: "max_sandboxes", Flag: "max-sandboxes", Default: "256", Value: count(func(c *Config) *int { return &c.MaxSandboxes }, 1, 1_000_000),
			Help: "`NUMBER` of sandboxes that live on"},
		{Key: "memory", Flag: "memory", Unset: "what is available less a reserve", Value: zeroUnsets(size(func(c *Config) *int64 { return &c.Memory }, 1<<20)),
			Help: "`SIZE` that the memory limits of all running sandboxes may add up to"},
		{Key: "disk_floor", Flag: "disk-floor", Default: "512MiB", Value: size(func(c *Config) *int64 { return &c.DiskFloor }, 0),
			Help: "refuse work when less `SPACE` is free below the state directory; 0 never refuses"},
		{Key: "images.suite", Flag: "images-suite", Default: "bookworm", Value: text(func(c *Config) *string { return &c.Images.Suite }),
			Help: "`SUITE` of Debian that images are built of"},
		{Key: "images.mirror", Flag: "images-mirror", Unset: "snapshot.debian.org where a time is asked for, else mmdebstrap's", Value: optional(func(c *Config) *string { return &c.Images.Mirror }),
			Help: "`URL` of Debian's archive for images that are built; {snapshot} in it stands for the time"},
		{Key: "images.insecure", Flag: "images-insecure", Unset: "none", Value: list(func(c *Config) *[]string { return &c.Images.Insecure }),
			Help: "`HOSTS`, host or host:port, of registries that may be spoken to without TLS; on this machine all may"},
		{Key: "images.max_bytes", Flag: "images-max-bytes", Default: "16GiB", Value: size(func(c *Config) *int64 { return &c.Images.MaxBytes }, 1<<20),
			Help: "`SIZE` that the files of one image may have, unpacked"},
		{Key: "images.max_entries", Flag: "images-max-entries", Default: "2000000", Value: count(func(c *Config) *int64 { return &c.Images.MaxEntries }, 1, math.MaxInt64),
			Help: "`NUMBER` of entries that one layer of an image may have"},
		{Key: "images.max_ratio", Flag: "images-max-ratio", Default: "200", Value: count(func(c *Config) *int64 { return &c.Images.MaxRatio }, 1, 1_000_000),
			Help: "`NUMBER` of times its own size that a layer above 64 MiB may unpack to"},
		{Key: "log.level", Flag: "log-level", Default: "info", Live: true, Value: level(func(c *Config) *slog.Level { return &c.LogLevel }),
			Help: "`LEVEL` below which nothing is logged"},
		{Key: "log.format", Flag: "log-format", Default: "auto", Live: true, Value: choice(func(c *Config) *string { return &c.LogFormat }, "auto", "text", "json", "journal"),
			Help: "`FORMAT` of the log on stderr; auto is the journal, with fields, where stderr goes there, else text"},
	},
		limitSettings("policy.max", "max", "the most a caller can ask for: ", true, func(c *Config) *sandbox.Limits { return &c.Policy.Max }),
		limitSettings("policy.default", "default", "in place of the language's own default: ", false, func(c *Config) *sandbox.Limits { return &c.Policy.Default }),
		sandboxSettings(),
		[]Setting[Config]{
			{Key: "policy.languages", Flag: "languages", Unset: "all", Live: true, Value: list(func(c *Config) *[]string { return &c.Policy.Languages }),
				Help: "`NAMES` of the languages that may be used"},
			{Key: "policy.image", Flag: "image", Default: "host", Live: true, Value: text(func(c *Config) *string { return &c.Policy.Image }),
				Help: "`IMAGE` of sandboxes and executions whose caller names none"},
			{Key: "policy.images", Flag: "images", Unset: "all", Live: true, Value: list(func(c *Config) *[]string { return &c.Policy.Images }),
				Help: "`NAMES` of the images that may be used, host among them; one with * at its end means all that begin so"},
			{Key: "policy.image_runtimes", Flag: "image-runtimes", Unset: "none", Live: true, Value: imageRuntimes(func(c *Config) *[]sandbox.ImageRuntime { return &c.Policy.Under }),
				Help: "`PAIRS` IMAGE=RUNTIME, the runtime of an image where nobody names one; the first that has the image counts, and * may end it"},
			{Key: "policy.runtimes", Flag: "runtimes", Unset: "all", Live: true, Value: list(func(c *Config) *[]string { return &c.Policy.Runtimes }),
				Help: "`NAMES` of the runtimes that may be used"},
			{Key: "retention.max_age", Flag: "retention-max-age", Unset: "kept for ever", Live: true, Value: duration(func(c *Config) *time.Duration { return &c.Retention.MaxAge }, time.Second),
				Help: "`TIME` after its end at which an execution, or a sandbox, is forgotten"},
			{Key: "retention.max_count", Flag: "retention-max-count", Unset: "no bound", Live: true, Value: count(func(c *Config) *int64 { return &c.Retention.MaxCount }, 1, math.MaxInt64),
				Help: "`NUMBER` of executions that are kept, and of sandboxes that have ended, of each tenant; the oldest are forgotten"},
			{Key: "retention.max_bytes", Flag: "retention-max-bytes", Unset: "no bound", Live: true, Value: size(func(c *Config) *int64 { return &c.Retention.MaxBytes }, 1<<20),
				Help: "`SIZE` of all records of executions that are kept, of each tenant, as stored; the oldest are forgotten"},
			{Key: "retention.output_max_age", Flag: "retention-output-max-age", Unset: "as long as the execution", Live: true,
				Value: duration(func(c *Config) *time.Duration { return &c.Retention.OutputMaxAge }, time.Second),
				Help:  "`TIME` after its end at which an execution's output and files are forgotten; its record stays"},
		})
}

// KeySettings returns the table of what can be set for one API key, below `[keys."NAME or ID"]` in the file.
func KeySettings() []Setting[sandbox.KeyPolicy] {
	type key = sandbox.KeyPolicy
	return append(limitSettings("limits", "", "in place of `policy.max`: ", false, func(k *key) *sandbox.Limits { return &k.Max }),
		Setting[key]{Key: "languages", Unset: "`policy.languages`", Live: true, Value: list(func(k *key) *[]string { return &k.Languages }),
			Help: "languages that this key may use, in place of `policy.languages`"},
		Setting[key]{Key: "max_running", Unset: "no bound of its own", Live: true, Value: count(func(k *key) *int { return &k.MaxRunning }, 1, 1_000_000),
			Help: "sandboxes of this key at once"},
		Setting[key]{Key: "max_sandboxes", Unset: "no bound of its own", Live: true, Value: count(func(k *key) *int { return &k.MaxSandboxes }, 1, 1_000_000),
			Help: "sandboxes of this key that live on"},
		Setting[key]{Key: "max_queue", Unset: "no bound of its own", Live: true, Value: count(func(k *key) *int { return &k.MaxQueue }, 1, 1_000_000),
			Help: "executions of this key that may wait"})
}

// limitSettings returns a setting for each limit below table. flags start with flag; without one there are none.
func limitSettings[C any](table, flag, help string, withDefault bool, at func(*C) *sandbox.Limits) []Setting[C] {
	type limits = sandbox.Limits
	number := func(field func(*limits) *int64) func(*C) *int64 { return func(c *C) *int64 { return field(at(c)) } }
	period := func(field func(*limits) *time.Duration) func(*C) *time.Duration {
		return func(c *C) *time.Duration { return field(at(c)) }
	}
	all := []struct {
		name             sandbox.LimitName
		flag, most, help string
		value            Value[C]
	}{
		{sandbox.LimitWallTime, "wall-time", "10m", "`TIME` from the program's start", duration(period(func(l *limits) *time.Duration { return &l.WallTime }), time.Millisecond)},
		{sandbox.LimitCPUTime, "cpu-time", "10m", "CPU `TIME` of the whole process tree", duration(period(func(l *limits) *time.Duration { return &l.CPUTime }), time.Millisecond)},
		{sandbox.LimitMemory, "memory", "4GiB", "`SIZE` of the memory of one execution", size(number(func(l *limits) *int64 { return &l.Memory }), sandbox.MinMemory)},
		{sandbox.LimitProcesses, "processes", "1024", "`NUMBER` of processes and threads at once", count(number(func(l *limits) *int64 { return &l.Processes }), 1, 1<<22)},
		{sandbox.LimitOpenFiles, "open-files", "4096", "`NUMBER` of open files of one process", count(number(func(l *limits) *int64 { return &l.OpenFiles }), 1, 1<<20)},
		{sandbox.LimitFileSize, "file-size", "1GiB", "`SIZE` of one file", size(number(func(l *limits) *int64 { return &l.FileSize }), 1)},
		{sandbox.LimitDisk, "disk", "1GiB", "`SIZE` of all files", size(number(func(l *limits) *int64 { return &l.Disk }), 1)},
		{sandbox.LimitInodes, "inodes", "100000", "`NUMBER` of files and directories", count(number(func(l *limits) *int64 { return &l.Inodes }), 1, math.MaxInt64)},
		{sandbox.LimitOutput, "output", "32MiB", "`SIZE` of stdout and stderr together", size(number(func(l *limits) *int64 { return &l.Output }), 1)},
	}
	settings := make([]Setting[C], len(all))
	for i, l := range all {
		s := Setting[C]{Key: table + "." + limitKey(l.name), Value: l.value, Help: help + l.help, Live: true}
		if flag != "" {
			s.Flag = flag + "-" + l.flag
		}
		switch {
		case withDefault:
			s.Default, s.Value = l.most, zeroUnsets(l.value)
			s.Help += "; 0 is no maximum"
		case flag != "":
			s.Unset = "the language's own"
		default:
			s.Unset = "`policy.max." + limitKey(l.name) + "`"
		}
		settings[i] = s
	}
	return settings
}

// sandboxSettings returns the settings of sandboxes that live on.
func sandboxSettings() []Setting[Config] {
	type limits = sandbox.SandboxLimits
	standard := sandbox.DefaultSandboxLimits()
	fields := []struct {
		key, flag, most, help string
		standard              int64
		bytes                 bool
		low                   int64
		at                    func(*limits) *int64
	}{
		{"memory", "memory", "4GiB", "`SIZE` of the memory of all its processes", standard.Memory, true, 16 << 20, func(l *limits) *int64 { return &l.Memory }},
		{"processes", "processes", "4096", "`NUMBER` of its processes and threads at once", standard.Processes, false, 1, func(l *limits) *int64 { return &l.Processes }},
		{"open_files", "open-files", "1048576", "`NUMBER` of open files of one process", standard.OpenFiles, false, 1, func(l *limits) *int64 { return &l.OpenFiles }},
		{"disk", "disk", "20GiB", "`SIZE` of what it has written", standard.Disk, true, 1 << 20, func(l *limits) *int64 { return &l.Disk }},
	}
	all := []Setting[Config]{
		{Key: "sandbox.timeout", Flag: "sandbox-timeout", Default: "1h", Live: true,
			Value: duration(func(c *Config) *time.Duration { return &c.Policy.Sandboxes.Timeout }, time.Second),
			Help:  "`TIME` that a sandbox lives where its creator does not say"},
		{Key: "sandbox.max_timeout", Flag: "sandbox-max-timeout", Unset: "no bound", Live: true,
			Value: duration(func(c *Config) *time.Duration { return &c.Policy.Sandboxes.MaxTimeout }, time.Second),
			Help:  "`TIME` that a caller can ask for at once; without it sandboxes may live for ever"},
	}
	for _, l := range fields {
		s := Setting[Config]{Key: "sandbox.max." + l.key, Flag: "sandbox-max-" + l.flag, Live: true, Default: l.most,
			Help: "of a sandbox that lives on, the most its creator can ask for: " + l.help + "; 0 is no maximum"}
		at := func(c *Config) *int64 { return l.at(&c.Policy.Sandboxes.Max) }
		if s.Value = zeroUnsets(count(at, l.low, math.MaxInt64)); l.bytes {
			s.Value = zeroUnsets(size(at, l.low))
		}
		all = append(all, s)
	}
	for _, l := range fields {
		s := Setting[Config]{Key: "sandbox.default." + l.key, Flag: "sandbox-default-" + l.flag, Live: true, Default: strconv.FormatInt(l.standard, 10),
			Help: "of a sandbox that lives on, where its creator does not say: " + l.help}
		at := func(c *Config) *int64 { return l.at(&c.Policy.Sandboxes.Default) }
		if s.Value = count(at, l.low, math.MaxInt64); l.bytes {
			s.Value, s.Default = size(at, l.low), showSize(l.standard)
		}
		all = append(all, s)
	}
	return all
}

// limitKey returns the last part of the keys of a limit.
func limitKey(name sandbox.LimitName) string {
	switch name {
	case sandbox.LimitWallTime:
		return "wall_time"
	case sandbox.LimitCPUTime:
		return "cpu_time"
	case sandbox.LimitMemory:
		return "memory"
	case sandbox.LimitOpenFiles:
		return "open_files"
	case sandbox.LimitFileSize:
		return "file_size"
	case sandbox.LimitDisk:
		return "disk"
	case sandbox.LimitOutput:
		return "output"
	}
	return string(name) // processes, inodes
}
