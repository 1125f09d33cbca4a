package sandbox

import (
	"fmt"
	"path"
	"strings"
	"time"
	"unicode/utf8"
)

// What a sandbox may be asked for.
const (
	minSandboxMemory = 16 << 20
	maxLabels        = 64
	maxLabelName     = 128
	maxLabelValue    = 1024
	maxSandboxEnv    = 1000
	maxTimeout       = 365 * 24 * time.Hour
)

// DefaultSandboxLimits are in force where a caller asks for none.
func DefaultSandboxLimits() SandboxLimits {
	return SandboxLimits{Memory: 512 << 20, Processes: 512, OpenFiles: 65536, Disk: 2 << 30}
}

// DefaultSandboxTimeout is how long a sandbox lives where its caller does not say.
const DefaultSandboxTimeout = time.Hour

// Resolve returns the limits in force for what was asked: zero fields are taken from defaults, and those above the
// policy, whose zero fields bound nothing, are lowered to it and named.
func (l SandboxLimits) Resolve(defaults, policy SandboxLimits) (SandboxLimits, []LimitName) {
	var clamped []LimitName
	for _, f := range []struct {
		name                  LimitName
		value                 *int64
		standard, most, least int64
	}{
		{LimitMemory, &l.Memory, defaults.Memory, policy.Memory, minSandboxMemory},
		{LimitProcesses, &l.Processes, defaults.Processes, policy.Processes, 1},
		{LimitOpenFiles, &l.OpenFiles, defaults.OpenFiles, policy.OpenFiles, 1},
		{LimitDisk, &l.Disk, defaults.Disk, policy.Disk, 1},
	} {
		asked := *f.value > 0
		if !asked {
			*f.value = f.standard
		}
		if f.most > 0 && *f.value > f.most {
			*f.value = max(f.most, f.least)
			if asked {
				clamped = append(clamped, f.name)
			}
		}
	}
	return l, clamped
}

// Validate returns an [*Error] of [KindInvalid] that names the first field of l, called at, that is wrong, or nil.
func (l SandboxLimits) Validate(at string) *Error {
	for _, f := range []struct {
		name  LimitName
		value int64
	}{{LimitMemory, l.Memory}, {LimitProcesses, l.Processes}, {LimitOpenFiles, l.OpenFiles}, {LimitDisk, l.Disk}} {
		if f.value < 0 {
			return invalid("LIMIT_OUT_OF_RANGE", at+"."+string(f.name), "must not be negative")
		}
	}
	if l.Memory > 0 && l.Memory < minSandboxMemory {
		return invalid("LIMIT_OUT_OF_RANGE", at+"."+string(LimitMemory), fmt.Sprintf("must be 0 or at least %d (16 MiB)", minSandboxMemory))
	}
	return nil
}

// Validate returns an [*Error] of [KindInvalid] that names the first field of r that is wrong, or nil.
func (r *CreateSandbox) Validate() error {
	if err := r.Limits.Validate("limits"); err != nil {
		return err
	}
	for name, pairs := range map[string]map[string]string{"labels": r.Labels, "metadata": r.Metadata} {
		if err := checkPairs(name, pairs); err != nil {
			return err
		}
	}
	if err := checkEnv("env", r.Env); err != nil {
		return err
	}
	switch {
	case len(r.RequestID) > maxRequestID || !printableASCII(r.RequestID):
		return invalid("BAD_REQUEST_ID", "requestId", fmt.Sprintf("must be at most %d printable ASCII characters", maxRequestID))
	case r.Workdir != "" && (!path.IsAbs(r.Workdir) || len(r.Workdir) > maxPath || strings.ContainsRune(r.Workdir, 0)):
		return invalid("BAD_PATH", "workdir", "must be an absolute path")
	case len(r.User) > 64 || strings.ContainsAny(r.User, ":\x00\n"):
		return invalid("BAD_NAME", "user", "must be a user's name or id")
	case r.Timeout != nil && (*r.Timeout < 0 || *r.Timeout > maxTimeout):
		return invalid("TIMEOUT_OUT_OF_RANGE", "timeout", "must be from 0 (never) to 365 days")
	case r.IdleTimeout < 0 || r.IdleTimeout > maxTimeout:
		return invalid("TIMEOUT_OUT_OF_RANGE", "idleTimeout", "must be from 0 (never) to 365 days")
	}
	return nil
}

func printableASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

func checkPairs(field string, pairs map[string]string) *Error {
	if len(pairs) > maxLabels {
		return invalid("TOO_MANY", field, fmt.Sprintf("at most %d entries", maxLabels))
	}
	for k, v := range pairs {
		if k == "" || len(k) > maxLabelName || len(v) > maxLabelValue || !utf8.ValidString(k) || !utf8.ValidString(v) {
			return invalid("BAD_NAME", field, fmt.Sprintf("a name has 1 to %d bytes of UTF-8, a value at most %d", maxLabelName, maxLabelValue))
		}
	}
	return nil
}

func checkEnv(field string, env map[string]string) *Error {
	if len(env) > maxSandboxEnv {
		return invalid("TOO_MANY", field, fmt.Sprintf("at most %d variables", maxSandboxEnv))
	}
	total := 0
	for k, v := range env {
		if total += len(k) + len(v) + 2; k == "" || strings.ContainsAny(k, "=\x00") || strings.ContainsRune(v, 0) {
			return invalid("BAD_VARIABLE", field, fmt.Sprintf("%q: a name must not be empty nor contain '=', and nothing may contain a zero byte", k))
		}
	}
	if total > maxArguments {
		return invalid("TOO_LONG", field, fmt.Sprintf("variables have %d bytes together, at most %d", total, maxArguments))
	}
	return nil
}
