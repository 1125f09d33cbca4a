package sandboxtest

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/soulbox/soulbox/cgroups"
	"github.com/soulbox/soulbox/sandbox"
)

// Runtime is what the default runtime of the engine says of itself.
func (p *Parts) Runtime(t testing.TB) sandbox.RuntimeInfo {
	t.Helper()
	info, err := p.Engine.Info(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return info.Runtimes[0]
}

// Kept is what is kept and counted of each slot by cgroups, the host's or those of a kernel of the sandbox's own.
func (p *Parts) Kept(t testing.TB) cgroups.Enforced {
	t.Helper()
	has := p.Cgroups.Enforced()
	if p.Runtime(t).OwnKernel {
		has.CPUTime, has.Pids = true, true
	}
	return has
}

// Lacks tells whether the runtime says that it has no feature of that name.
func (p *Parts) Lacks(t testing.TB, feature string) bool {
	t.Helper()
	return slices.ContainsFunc(p.Runtime(t).Features, func(f sandbox.Feature) bool {
		return f.Name == feature && f.Answer == sandbox.AnswerNo
	})
}

// Achieved returns the lines that an attack printed, less those that the runtime admits to.
func (p *Parts) Achieved(t testing.TB, stdout string) []string {
	t.Helper()
	var achieved []string
	for line := range strings.Lines(stdout) {
		line = strings.TrimSuffix(line, "\n")
		feature, known := admitted()[line]
		if !known || !p.Lacks(t, feature) {
			achieved = append(achieved, line)
		}
	}
	return achieved
}

// admitted names the feature whose lack explains a line of an attack.
func admitted() map[string]string {
	return map[string]string{
		"nice": "priorities", "out of memory last": "priorities", "setpriority answered 0": "priorities", "renice": "priorities",
		"follow ns/pid": "first-process", "follow ns/mnt": "first-process", "follow ns/user": "first-process",
		"read io": "first-process", "list fd": "first-process",
	}
}
