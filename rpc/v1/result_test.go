package v1

import (
	"testing"
	"time"

	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/sandbox"
)

// Verdicts and states convert by value, so both lists must stay the same.
func TestEnumsAgree(t *testing.T) {
	verdicts := map[sandbox.Verdict]pb.Verdict{
		sandbox.VerdictUnspecified: pb.Verdict_VERDICT_UNSPECIFIED, sandbox.VerdictOK: pb.Verdict_VERDICT_OK,
		sandbox.VerdictRuntimeError: pb.Verdict_VERDICT_RUNTIME_ERROR, sandbox.VerdictSignalled: pb.Verdict_VERDICT_SIGNALLED,
		sandbox.VerdictCompileError: pb.Verdict_VERDICT_COMPILE_ERROR, sandbox.VerdictTimeLimit: pb.Verdict_VERDICT_TIME_LIMIT,
		sandbox.VerdictCPULimit: pb.Verdict_VERDICT_CPU_LIMIT, sandbox.VerdictMemoryLimit: pb.Verdict_VERDICT_MEMORY_LIMIT,
		sandbox.VerdictOutputLimit: pb.Verdict_VERDICT_OUTPUT_LIMIT, sandbox.VerdictDiskLimit: pb.Verdict_VERDICT_DISK_LIMIT,
		sandbox.VerdictProcessLimit: pb.Verdict_VERDICT_PROCESS_LIMIT, sandbox.VerdictCancelled: pb.Verdict_VERDICT_CANCELLED,
		sandbox.VerdictInternal: pb.Verdict_VERDICT_INTERNAL,
	}
	if got, want := len(verdicts), len(pb.Verdict_name); got != want {
		t.Errorf("%d verdicts compared, the API has %d", got, want)
	}
	for in, want := range verdicts {
		if got := verdict(in); got != want {
			t.Errorf("verdict(%d) = %v, want %v", in, got, want)
		}
	}
	states := map[sandbox.State]pb.State{
		sandbox.StateUnspecified: pb.State_STATE_UNSPECIFIED, sandbox.StateQueued: pb.State_STATE_QUEUED,
		sandbox.StateRunning: pb.State_STATE_RUNNING, sandbox.StateDone: pb.State_STATE_DONE,
	}
	for in, want := range states {
		if got := state(in); got != want {
			t.Errorf("state(%d) = %v, want %v", in, got, want)
		}
	}
}

// The time of a paused sandbox stands still, so it has no end.
func TestDeadline(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for state, want := range map[sandbox.SandboxState]bool{sandbox.SandboxRunning: true, sandbox.SandboxPaused: false, sandbox.SandboxStopped: true} {
		got := sandboxProto(sandbox.Sandbox{State: state, DeadlineAt: at}).GetDeadlineAt()
		if (got != nil) != want || want && !got.AsTime().Equal(at) {
			t.Errorf("the deadline of a sandbox in state %v is %v, want one: %t", state, got, want)
		}
	}
}
