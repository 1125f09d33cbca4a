package config

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/sandbox"
)

// write writes a file and returns the input that reads it.
func write(t testing.TB, toml string) Input {
	t.Helper()
	path := filepath.Join(t.TempDir(), "soulbox.toml")
	if err := os.WriteFile(path, []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	return Input{Path: path, Explicit: true, Languages: named("c", "go", "python"), Runtimes: []string{"runc"}}
}

// named returns languages of these names.
func named(names ...string) func(*Effective) ([]string, error) {
	return func(*Effective) ([]string, error) { return names, nil }
}

// from returns a lookup in a map.
func from(m map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		text, ok := m[name]
		return text, ok
	}
}

func load(t testing.TB, in Input) *Effective {
	t.Helper()
	e, err := Load(in)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return e
}

func TestDefaults(t *testing.T) {
	e := load(t, Input{Defaults: map[string]string{"state_dir": "/s", "cache_dir": "/c"}})
	want := Config{Listen: "127.0.0.1:4444", StateDir: "/s", CacheDir: "/c", Drain: 10 * time.Second, MaxQueue: 1000, MaxSandboxes: 256, DiskFloor: 512 << 20, Runtime: "runc",
		LogFormat: "auto", Images: Images{Suite: "bookworm", MaxBytes: 16 << 30, MaxEntries: 2_000_000, MaxRatio: 200},
		Policy: sandbox.Policy{Image: "host", Keys: map[string]sandbox.KeyPolicy{}, Max: sandbox.Limits{WallTime: 10 * time.Minute, CPUTime: 10 * time.Minute,
			Memory: 4 << 30, Processes: 1024, OpenFiles: 4096, FileSize: 1 << 30, Disk: 1 << 30, Inodes: 100_000, Output: 32 << 20},
			Sandboxes: sandbox.SandboxPolicy{Timeout: time.Hour, Default: sandbox.DefaultSandboxLimits(),
				Max: sandbox.SandboxLimits{Memory: 4 << 30, Processes: 4096, OpenFiles: 1 << 20, Disk: 20 << 30}}}}
	if d := cmp.Diff(want, e.Config); d != "" {
		t.Errorf("defaults (-want +got):\n%s", d)
	}
	for key, from := range e.Sources {
		if from.Kind != FromDefault {
			t.Errorf("source of %s = %v, want the default", key, from)
		}
	}
}

// TestPrecedence sets every setting everywhere, then takes the strongest away one by one.
func TestPrecedence(t *testing.T) {
	toml := "max_queue = 3\n[policy.max]\nmemory = 8388608\n"
	flags := map[string]string{"max-queue": "1", "max-memory": "64M"}
	env := map[string]string{"SOULBOX_MAX_QUEUE": "2", "SOULBOX_MAX_MEMORY": "32M"}
	for _, c := range []struct {
		name       string
		change     func(*Input)
		queue      int
		memory     int64
		from       SourceKind
		queueShown string
	}{
		{"flags", func(*Input) {}, 1, 64 << 20, FromFlag, "flag --max-queue"},
		{"environment", func(in *Input) { in.Flag = nil }, 2, 32 << 20, FromEnv, "env SOULBOX_MAX_QUEUE"},
		{"file", func(in *Input) { in.Flag, in.Env = nil, from(map[string]string{"SOULBOX_MAX_QUEUE": ""}) }, 3, 8 << 20, FromFile, "file F:1"},
		{"default", func(in *Input) { *in = Input{Path: "/nonexistent"} }, 1000, 4 << 30, FromDefault, "default"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := write(t, toml)
			in.Flag, in.Env = from(flags), from(env)
			c.change(&in)
			e := load(t, in)
			if e.MaxQueue != c.queue || e.Policy.Max.Memory != c.memory {
				t.Errorf("max_queue %d, policy.max.memory %d, want %d, %d", e.MaxQueue, e.Policy.Max.Memory, c.queue, c.memory)
			}
			if got := strings.ReplaceAll(e.Sources["max_queue"].String(), in.Path, "F"); got != c.queueShown || e.Sources["policy.max.memory"].Kind != c.from {
				t.Errorf("sources %q and %v, want %q and %s", got, e.Sources["policy.max.memory"], c.queueShown, c.from)
			}
		})
	}
}

// sample sets every setting.
const sample = `
listen = "127.0.0.1:0"
state_dir = "/s"
cache_dir = "/c"
socket = "none"
languages_dir = ""
runtime = "runsc"
strict = true
drain = "1m30s"
max_queue = 1
max_running = 2
max_sandboxes = 3
memory = "1GiB"
disk_floor = 0
log = { level = "debug", format = "json" }
policy.languages = ["python", "go"]
policy.runtimes = ["runc"]
policy.image = "python"
policy.images = ["host", "python", "registry.example/*"]
policy.image_runtimes = ["registry.example/*=runc", "host=runc"]
images = { suite = "trixie", mirror = "http://mirror.example/{snapshot}/", insecure = ["registry.example:5000"], max_bytes = "1GiB", max_entries = 1000, max_ratio = 10 }
keys.env.max_queue = 7

[policy.max]
wall_time = "1h"
cpu_time = "2h"
memory = 104857600
processes = 3
open_files = 4
file_size = "5K"
disk = "6M"
inodes = 7
output = "8KiB"
[policy.default]
wall_time = "1s"
cpu_time = "2s"
memory = "4MiB"
processes = 1
open_files = 1
file_size = "1B"
disk = 1
inodes = 1
output = 1
[sandbox]
timeout = "2h"
max_timeout = "24h"
[sandbox.max]
memory = "8GiB"
processes = 0
open_files = 70000
disk = "40GiB"
[sandbox.default]
memory = "1GiB"
processes = 100
open_files = 1024
disk = "1GiB"
[retention]
max_age = "720h"
max_count = 10
max_bytes = "1GiB"
output_max_age = "24h"
[keys."night \"shift\""]
max_running = 1
languages = ["c"]
[keys."night \"shift\"".limits]
memory = "8GiB"
[keys.plain]
`

func TestSample(t *testing.T) {
	e := load(t, write(t, sample))
	for _, s := range Settings() {
		if e.Sources[s.Key].Kind != FromFile {
			t.Errorf("%s comes from %v: the sample must set every setting", s.Key, e.Sources[s.Key])
		}
	}
	want := map[string]sandbox.KeyPolicy{"env": {MaxQueue: 7}, "plain": {},
		`night "shift"`: {MaxRunning: 1, Languages: []string{"c"}, Max: sandbox.Limits{Memory: 8 << 30}}}
	if d := cmp.Diff(want, e.Policy.Keys); d != "" {
		t.Errorf("keys (-want +got):\n%s", d)
	}
	if e.LogLevel != slog.LevelDebug || e.LogFormat != "json" || e.Drain != 90*time.Second || e.Policy.Max.FileSize != 5<<10 {
		t.Errorf("level %v, format %s, drain %v, file size %d", e.LogLevel, e.LogFormat, e.Drain, e.Policy.Max.FileSize)
	}
}

// TestPrintedReadsTheSame: what is printed is a file that says the same, for the sample and for the defaults.
func TestPrintedReadsTheSame(t *testing.T) {
	defaults := Input{Defaults: map[string]string{"state_dir": "/s", "cache_dir": "/c"}, Flag: from(map[string]string{"max-memory": "0"})}
	for name, in := range map[string]Input{"sample": write(t, sample), "defaults": defaults} {
		t.Run(name, func(t *testing.T) {
			e := load(t, in)
			var b bytes.Buffer
			if err := e.WriteTOML(&b); err != nil {
				t.Fatal(err)
			}
			again := load(t, write(t, b.String()))
			want := e.Config
			delete(want.Policy.Keys, "plain") // nothing is set of it
			if d := cmp.Diff(want, again.Config); d != "" {
				t.Errorf("read again (-first +second):\n%s\nof:\n%s", d, &b)
			}
			if live, restart := Changed(e, again); len(live)+len(restart) != 0 {
				t.Errorf("Changed = %v, %v, want none", live, restart)
			}
		})
	}
}

func TestProblems(t *testing.T) {
	for _, c := range []struct {
		name, toml string
		want       []string // in order, with F for the path
	}{
		{"grammar", "listen = \n", []string{"F:1: "}},
		{"twice", "max_queue = 1\nmax_queue = 2\n", []string{"F:2: "}},
		{"unknown, with a neighbour", "\nmax_quue = 1\n", []string{`F:2: max_quue is no setting; did you mean max_queue?`}},
		{"unknown, nothing near", "flavour_of_the_day = 1\n", []string{`F:1: flavour_of_the_day is no setting`}},
		{"unknown in a table", "[log]\nlvl = \"info\"\n", []string{`F:2: log.lvl is no setting; did you mean log.level?`}},
		{"in the wrong table", "[policy]\nmax_count = 1\n", []string{`F:2: policy.max_count is no setting; did you mean retention.max_count?`}},
		{"unknown table, said once", "[polcy]\nmax.memory = 1\nx = 2\n", []string{`F:1: polcy is no setting; did you mean policy?`}},
		{"unknown empty table", "[retenton]\n", []string{`F:1: retenton is no setting; did you mean retention?`}},
		{"unknown of a key", "[keys.\"a b\"]\nlimits.mem = \"1G\"\n", []string{`F:2: keys."a b".limits.mem is no setting; did you mean keys."a b".limits.memory?`}},
		{"inline", "log = {\n level = \"info\",\n colour = 1 }\n", []string{`F:3: log.colour is no setting`}},
		{"table for a value", "[drain]\nx = 1\n", []string{"F:1: drain is a value, not a table"}},
		{"value for a table", "policy = 3\n", []string{"F:1: policy is a table, not a value"}},
		{"list of tables", "[[retention]]\nmax_count = 1\n", []string{"F:1: retention is one table, not a list: write it in single brackets"}},
		{"several at once", "max_queue = \"1\"\nmemory = true\ndrain = 5\nlisten = 7\nstrict = 1\nlog.level = \"loud\"\npolicy.languages = \"c\"\n", []string{
			"F:1: max_queue must be a whole number", `F:2: memory must be a size such as "64MiB", or a number of bytes`,
			`F:3: drain must be a duration in quotes, such as "10s"`, "F:4: listen must be a text in quotes", "F:5: strict must be true or false",
			`F:6: log.level "loud" is not debug, info, warn or error`, `F:7: policy.languages must be a list such as ["python", "go"]`}},
		{"ranges", "max_queue = 0\nmemory = 5\ndrain = \"-1s\"\n[policy.default]\nmemory = \"1MiB\"\n", []string{
			`F:1: max_queue "0" is not in the range 1 to 1000000`, `F:2: memory "5" is not in the range 1MiB or more`,
			`F:3: drain "-1s" is not in the range 1ms or more`, `F:5: policy.default.memory "1MiB" is not in the range 4MiB or more`}},
		{"lists", "policy.languages = []\npolicy.runtimes = [\"a,b\"]\nkeys.k.languages = [\"c\", \"c\"]\n", []string{
			"F:1: policy.languages is empty, which would allow nothing; without the key all are allowed",
			"F:2: policy.runtimes must be a list of names in quotes", `F:3: keys.k.languages "c,c" has c twice`}},
		{"names", "policy.languages = [\"pyton\"]\npolicy.runtimes = [\"docker\"]\n[keys.x]\nlanguages = [\"og\"]\n", []string{
			`F:1: policy.languages has "pyton", which is no language; did you mean "python"?`,
			`F:2: policy.runtimes has "docker", which is no runtime`, `F:4: keys.x.languages has "og", which is no language`}},
		{"default above the maximum", "policy.max.disk = \"1MiB\"\npolicy.default.disk = \"2MiB\"\n", []string{
			`F:2: policy.default.disk "2MiB" is above policy.max.disk, which is 1MiB`}},
		{"a secret for a name", "[keys.e2b_0123456789abcdef.limits]\nmemory = 0\n[keys.e2b_0123456789abcdef]\nx = 1\n", []string{
			`F:1: keys."e2b_…" is an API key itself: name it by its id or its name, and revoke it, as others may have read it here`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := write(t, c.toml)
			_, err := Load(in)
			problems, ok := errors.AsType[Problems](err)
			if !ok {
				t.Fatalf("Load = %v, want problems", err)
			}
			if len(problems) != len(c.want) {
				t.Errorf("%d problems, want %d:\n%v", len(problems), len(c.want), problems)
			}
			for i, want := range c.want {
				if got := strings.ReplaceAll(problems[min(i, len(problems)-1)].String(), in.Path, "F"); !strings.HasPrefix(got, want) {
					t.Errorf("problem %d: %q, want %q", i, got, want)
				}
			}
		})
	}
}

// TestProblemsOfAllSources: flags, environment and file are judged together, also where one overrides another.
func TestProblemsOfAllSources(t *testing.T) {
	in := write(t, "max_queue = 0\ndrain = \"soon\"\n")
	in.Flag = from(map[string]string{"max-queue": "5", "max-memory": "much", "languages": "python,ruby", "drain": ""})
	in.Env = from(map[string]string{"SOULBOX_STRICT": "perhaps"})
	_, err := Load(in)
	want := []string{`F:1: max_queue "0" is not in the range 1 to 1000000`, `F:2: drain "soon" is not a duration such as 1.5s, 10m or 24h`,
		`SOULBOX_STRICT "perhaps" is not true or false`, `--drain must not be empty`, `--max-memory "much" is not a size such as 64M or 1GiB`,
		`--languages has "ruby", which is no language`}
	if got := strings.ReplaceAll(err.Error(), in.Path, "F"); got != strings.Join(want, "\n") {
		t.Errorf("problems (-want +got):\n%s", cmp.Diff(want, strings.Split(got, "\n")))
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name string
		in   Input
		want string // in the error; empty: none
	}{
		{"absent default", Input{Path: filepath.Join(dir, "absent")}, ""},
		{"absent", Input{Path: filepath.Join(dir, "absent"), Explicit: true}, "cannot be read: no such file"},
		{"directory", Input{Path: dir}, "is a directory"},
	} {
		e, err := Load(c.in)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Load = %v, want %q", c.name, err, c.want)
		}
		if err == nil && e.Path != "" {
			t.Errorf("%s: path %q of no file", c.name, e.Path)
		}
	}
	if _, err := Load(write(t, strings.Repeat("#", maxFile+1))); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a file that is too large: %v", err)
	}
}

func TestChangedAndMerge(t *testing.T) {
	was := load(t, write(t, "listen = \"a:1\"\nmax_queue = 1\n[keys.a]\nmax_queue = 1\n[keys.b]\nmax_queue = 1\n"))
	is := load(t, write(t, "listen = \"a:2\"\nmax_queue = 2\nstrict = true\n[keys.a]\nmax_queue = 2\n[keys.c]\n"))
	live, restart := Changed(was, is)
	if d := cmp.Diff([]string{"max_queue", "keys.a", "keys.b", "keys.c"}, live); d != "" {
		t.Errorf("live (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"listen", "strict"}, restart); d != "" {
		t.Errorf("restart (-want +got):\n%s", d)
	}
	m := Merge(was, is)
	if m.Listen != "a:1" || m.Strict || m.MaxQueue != 2 || m.Policy.Keys["a"].MaxQueue != 2 || m.Sources["listen"].Name != was.Path {
		t.Errorf("Merge = %+v, listen from %v", m.Config, m.Sources["listen"])
	}
	if is.Listen != "a:2" || is.Sources["listen"].Name != is.Path {
		t.Error("Merge changed what it was given")
	}
}
