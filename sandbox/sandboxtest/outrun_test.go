package sandboxtest_test

import (
	"strings"
	"testing"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/runsc"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

// tightRuntime leaves its sandboxes less of the host's memory than their programs may have: as if every program were
// quicker than its agent.
type tightRuntime struct{ sandbox.Runtime }

func (r tightRuntime) Info() sandbox.RuntimeInfo {
	info := r.Runtime.Info()
	info.Overhead.Memory = -400 * mib
	return info
}

// TestOutrunAgent has programs of gVisor pass the host's limit before their agent looks: an execution ends with
// memory_limit, a sandbox that lives on has failed, and the engine goes on.
func TestOutrunAgent(t *testing.T) {
	p := sandboxtest.Open(t, func(o *sandbox.Options) {
		if o.Runtime.Info().OwnKernel { // the engine's own programs are to have what they need
			o.Runtime, o.Others[0] = o.Others[0], o.Runtime
		}
		o.Others[0] = tightRuntime{o.Others[0]}
		o.Sandboxes.MemoryFloor = 1
	})
	if !p.Cgroups.Enforced().Memory {
		return // the agent's looks are all there is, see TestLimits
	}
	const hog = "b = []\nwhile True: b.append(bytearray(1 << 20))"
	limits := sandbox.Limits{Memory: 512 * mib}
	x := execute(t, p, sandbox.Request{Language: "python", Code: hog, Runtime: runsc.Name, Limits: limits})
	if x.Verdict != sandbox.VerdictMemoryLimit || x.Usage.Wall <= 0 || x.Usage.PeakMemory != limits.Memory {
		t.Errorf("verdict %v, usage %+v, limits hit %v, want the memory limit", x.Verdict, x.Usage, x.LimitsHit)
	}
	b := open(t, p, sandbox.CreateSandbox{Runtime: runsc.Name, Limits: sandbox.SandboxLimits{Memory: limits.Memory}})
	b.background(sandbox.ProcessSpec{Args: []string{"python3", "-c", hog}})
	if s := b.awaitState(sandbox.SandboxFailed, patience); !strings.Contains(s.Reason, "out of memory") {
		t.Errorf("the sandbox ended with %q, want out of memory", s.Reason)
	}
	if x := execute(t, p, sandbox.Request{Language: "python", Code: "print('still here')"}); x.Verdict != sandbox.VerdictOK {
		t.Errorf("afterwards: %v", x.Verdict)
	}
}
