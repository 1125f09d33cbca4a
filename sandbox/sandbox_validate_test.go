package sandbox

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSandboxLimitsResolve(t *testing.T) {
	defaults := SandboxLimits{Memory: 512 << 20, Processes: 512, OpenFiles: 1000, Disk: 2 << 30}
	policy := SandboxLimits{Memory: 256 << 20, Processes: 100}
	for _, tt := range []struct {
		name         string
		in, policy   SandboxLimits
		want         SandboxLimits
		clamped      []LimitName
		fromDefaults SandboxLimits
	}{
		{"nothing asked, no policy", SandboxLimits{}, SandboxLimits{}, defaults, nil, defaults},
		{"a default above the policy is not called clamped", SandboxLimits{}, policy, SandboxLimits{256 << 20, 100, 1000, 2 << 30}, nil, defaults},
		{"asked within", SandboxLimits{Memory: 64 << 20, Processes: 7}, policy, SandboxLimits{64 << 20, 7, 1000, 2 << 30}, nil, defaults},
		{"asked above", SandboxLimits{Memory: 1 << 40, Processes: 101, Disk: 1 << 40}, policy, SandboxLimits{256 << 20, 100, 1000, 1 << 40},
			[]LimitName{LimitMemory, LimitProcesses}, defaults},
		{"at the policy", SandboxLimits{Memory: 256 << 20, Processes: 100}, policy, SandboxLimits{256 << 20, 100, 1000, 2 << 30}, nil, defaults},
		{"a policy below what a sandbox needs", SandboxLimits{Memory: 1 << 30}, SandboxLimits{Memory: 1}, SandboxLimits{minSandboxMemory, 512, 1000, 2 << 30},
			[]LimitName{LimitMemory}, defaults},
		{"changes to what is in force", SandboxLimits{Processes: 9}, SandboxLimits{}, SandboxLimits{1, 9, 3, 4}, nil, SandboxLimits{1, 2, 3, 4}},
	} {
		got, clamped := tt.in.Resolve(tt.fromDefaults, tt.policy)
		if got != tt.want || !slices.Equal(clamped, tt.clamped) {
			t.Errorf("%s: Resolve = %+v, %v, want %+v, %v", tt.name, got, clamped, tt.want, tt.clamped)
		}
	}
}

func TestValidateCreateSandbox(t *testing.T) {
	many := map[string]string{}
	for i := range 1001 {
		many[strings.Repeat("x", i+1)] = ""
	}
	minute, longest, longer, negative := time.Minute, maxTimeout, maxTimeout+1, -time.Second
	for _, tt := range []struct {
		name, reason, field string
		r                   CreateSandbox
	}{
		{"least", "", "", CreateSandbox{}},
		{"most", "", "", CreateSandbox{RequestID: strings.Repeat("~", maxRequestID), Labels: map[string]string{strings.Repeat("l", 128): strings.Repeat("v", 1024)},
			Env: map[string]string{"A": "\xff\n"}, User: "1000", Workdir: "/a b", Limits: SandboxLimits{Memory: minSandboxMemory}, Timeout: &longest, IdleTimeout: maxTimeout}},
		{"time", "", "", CreateSandbox{Timeout: &minute}},
		{"request id too long", "BAD_REQUEST_ID", "requestId", CreateSandbox{RequestID: strings.Repeat("x", maxRequestID+1)}},
		{"request id not ASCII", "BAD_REQUEST_ID", "requestId", CreateSandbox{RequestID: "\u00fc"}},
		{"request id of two lines", "BAD_REQUEST_ID", "requestId", CreateSandbox{RequestID: "a\nb"}},
		{"memory", "LIMIT_OUT_OF_RANGE", "limits.memoryBytes", CreateSandbox{Limits: SandboxLimits{Memory: minSandboxMemory - 1}}},
		{"negative memory", "LIMIT_OUT_OF_RANGE", "limits.memoryBytes", CreateSandbox{Limits: SandboxLimits{Memory: -1}}},
		{"negative disk", "LIMIT_OUT_OF_RANGE", "limits.diskBytes", CreateSandbox{Limits: SandboxLimits{Disk: -1}}},
		{"label without a name", "BAD_NAME", "labels", CreateSandbox{Labels: map[string]string{"": "x"}}},
		{"label with a long name", "BAD_NAME", "labels", CreateSandbox{Labels: map[string]string{strings.Repeat("x", 129): ""}}},
		{"label not UTF-8", "BAD_NAME", "labels", CreateSandbox{Labels: map[string]string{"a": "\xff"}}},
		{"long metadata", "BAD_NAME", "metadata", CreateSandbox{Metadata: map[string]string{"a": strings.Repeat("x", 1025)}}},
		{"many labels", "TOO_MANY", "labels", CreateSandbox{Labels: many}},
		{"many variables", "TOO_MANY", "env", CreateSandbox{Env: many}},
		{"variable without a name", "BAD_VARIABLE", "env", CreateSandbox{Env: map[string]string{"": "x"}}},
		{"variable with =", "BAD_VARIABLE", "env", CreateSandbox{Env: map[string]string{"a=b": "x"}}},
		{"variable with NUL", "BAD_VARIABLE", "env", CreateSandbox{Env: map[string]string{"a": "\x00"}}},
		{"long variables", "TOO_LONG", "env", CreateSandbox{Env: map[string]string{"a": strings.Repeat("x", maxArguments)}}},
		{"relative directory", "BAD_PATH", "workdir", CreateSandbox{Workdir: "a"}},
		{"directory with NUL", "BAD_PATH", "workdir", CreateSandbox{Workdir: "/a\x00"}},
		{"long directory", "BAD_PATH", "workdir", CreateSandbox{Workdir: "/" + strings.Repeat("x", maxPath)}},
		{"user with colon", "BAD_NAME", "user", CreateSandbox{User: "a:b"}},
		{"long user", "BAD_NAME", "user", CreateSandbox{User: strings.Repeat("x", 65)}},
		{"negative time", "TIMEOUT_OUT_OF_RANGE", "timeout", CreateSandbox{Timeout: &negative}},
		{"long time", "TIMEOUT_OUT_OF_RANGE", "timeout", CreateSandbox{Timeout: &longer}},
		{"long idle time", "TIMEOUT_OUT_OF_RANGE", "idleTimeout", CreateSandbox{IdleTimeout: longer}},
	} {
		err := tt.r.Validate()
		e, _ := errors.AsType[*Error](err)
		if e == nil {
			e = &Error{}
		}
		if (err == nil) != (tt.reason == "") || e.Reason != tt.reason || e.Field != tt.field {
			t.Errorf("%s: Validate() = %v, want %s of %q", tt.name, err, tt.reason, tt.field)
		}
	}
}

// Two requests have one hash if they ask for the same, whatever their ids are.
func TestSandboxHash(t *testing.T) {
	minute, zero := time.Minute, time.Duration(0)
	base := CreateSandbox{Tenant: "t", Client: "c", RequestID: "r", Image: "host", Labels: map[string]string{"a": "b", "c": "d"}}
	same := base
	same.Tenant, same.Client, same.RequestID = "x", "y", "z"
	if diff := cmp.Diff(sandboxHash(&base), sandboxHash(&same)); diff != "" {
		t.Errorf("who asks is part of the hash:\n%s", diff)
	}
	seen := map[string]string{string(sandboxHash(&base)): "base"}
	for name, change := range map[string]func(*CreateSandbox){
		"image": func(r *CreateSandbox) { r.Image = "" }, "runtime": func(r *CreateSandbox) { r.Runtime = "host" }, "user": func(r *CreateSandbox) { r.User = "a" },
		"workdir": func(r *CreateSandbox) { r.Workdir = "a" }, "label": func(r *CreateSandbox) { r.Labels = map[string]string{"a": "b"} },
		"labels joined": func(r *CreateSandbox) { r.Labels = map[string]string{"a": "bcd"} },
		"metadata":      func(r *CreateSandbox) { r.Labels, r.Metadata = nil, r.Labels }, "env": func(r *CreateSandbox) { r.Labels, r.Env = nil, r.Labels },
		"memory": func(r *CreateSandbox) { r.Limits.Memory = 1 }, "disk": func(r *CreateSandbox) { r.Limits.Disk = 1 }, "idle time": func(r *CreateSandbox) { r.IdleTimeout = 1 },
		"time": func(r *CreateSandbox) { r.Timeout = &minute }, "no time": func(r *CreateSandbox) { r.Timeout = &zero },
	} {
		r := base
		change(&r)
		if was, ok := seen[string(sandboxHash(&r))]; ok {
			t.Errorf("%s and %s have one hash", name, was)
		}
		seen[string(sandboxHash(&r))] = name
	}
}

func TestSandboxFilter(t *testing.T) {
	s := &Sandbox{State: SandboxPaused, Image: "host", Labels: map[string]string{"a": "b", "empty": ""}}
	for name, tt := range map[string]struct {
		f    SandboxFilter
		want bool
	}{
		"all":              {SandboxFilter{}, true},
		"state":            {SandboxFilter{States: []SandboxState{SandboxRunning, SandboxPaused}}, true},
		"another state":    {SandboxFilter{States: []SandboxState{SandboxRunning}}, false},
		"image":            {SandboxFilter{Image: "host"}, true},
		"another image":    {SandboxFilter{Image: "debian"}, false},
		"label":            {SandboxFilter{Labels: map[string]string{"a": "b"}}, true},
		"an empty label":   {SandboxFilter{Labels: map[string]string{"empty": ""}}, true},
		"an absent label":  {SandboxFilter{Labels: map[string]string{"absent": ""}}, false},
		"one of two":       {SandboxFilter{Labels: map[string]string{"a": "b", "c": "d"}}, false},
		"all must be true": {SandboxFilter{Image: "debian", States: []SandboxState{SandboxPaused}}, false},
	} {
		if got := tt.f.Selects(s); got != tt.want {
			t.Errorf("%s: Selects = %v, want %v", name, got, tt.want)
		}
	}
}

func TestSandboxLogIsBounded(t *testing.T) {
	var s Sandbox
	for range 3 * keepEntries {
		s.note(LogInfo, "old")
	}
	before := s.clone()
	s.note(LogWarn, "new")
	if n := len(s.Log); n != keepEntries || s.Log[n-1].Message != "new" || s.Log[n-1].Level != LogWarn || s.Log[n-1].At.IsZero() {
		t.Errorf("%d entries are kept, the last %+v", n, s.Log[n-1])
	}
	for i, e := range before.Log {
		if e.Message != "old" {
			t.Errorf("entry %d of a copy made before is %+v", i, e)
		}
	}
}
