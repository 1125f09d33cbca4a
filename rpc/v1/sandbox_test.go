package v1

import (
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/rpc/errs"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/sandbox"
)

func TestSignalOf(t *testing.T) {
	for text, want := range map[string]syscall.Signal{
		"SIGTERM": syscall.SIGTERM, "TERM": syscall.SIGTERM, "term": syscall.SIGTERM, "SigInt": syscall.SIGINT, "9": syscall.SIGKILL, "1": syscall.SIGHUP, "64": 64,
	} {
		if got, err := signalOf(text); err != nil || got != want {
			t.Errorf("signalOf(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "-9", "65", "SIG", "SIGNONSENSE", "9 ", "99999999999999999999"} {
		if got, err := signalOf(text); err == nil {
			t.Errorf("signalOf(%q) = %v, want an error", text, got)
		}
	}
}

func TestLabels(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"": nil, "a=b": {"a": "b"}, "a=b,c=d": {"a": "b", "c": "d"}, "a=": {"a": ""}, "a=b=c": {"a": "b=c"}, " a =b": {" a ": "b"},
	} {
		got, err := labels(text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("labels(%q): %v (-want +got):\n%s", text, err, diff)
		}
	}
	for _, text := range []string{"a", "=b", "a=b,", ",", "a=b,c"} {
		if got, err := labels(text); err == nil {
			t.Errorf("labels(%q) = %v, want an error", text, got)
		}
	}
}

func TestCommand(t *testing.T) {
	for name, tt := range map[string]struct {
		own   []string // of the image
		args  []string
		shell string
		want  []string
		bad   string // field
	}{
		"args":                {nil, []string{"a", "b"}, "", []string{"a", "b"}, ""},
		"args over the image": {[]string{"c"}, []string{"a", "b"}, "", []string{"a", "b"}, ""},
		"shell":               {[]string{"c"}, nil, "a; b", []string{"/bin/sh", "-c", "a; b"}, ""},
		"both":                {nil, []string{"a"}, "b", nil, "shell"},
		"the image's":         {[]string{"c", "d"}, nil, "", []string{"c", "d"}, ""},
		"neither":             {nil, nil, "", nil, "args"},
	} {
		got, err := command(tt.own, tt.args, tt.shell)
		field := ""
		if e := errs.From(t.Context(), nil, err); e != nil {
			field = errs.Field(e)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || field != tt.bad {
			t.Errorf("%s: %v of field %q, want %q (-want +got):\n%s", name, err, field, tt.bad, diff)
		}
	}
}

// States and levels convert by value, so both lists must stay the same.
func TestSandboxEnumsAgree(t *testing.T) {
	states := map[sandbox.SandboxState]pb.SandboxState{
		sandbox.SandboxUnspecified: pb.SandboxState_SANDBOX_STATE_UNSPECIFIED, sandbox.SandboxCreating: pb.SandboxState_SANDBOX_STATE_CREATING,
		sandbox.SandboxRunning: pb.SandboxState_SANDBOX_STATE_RUNNING, sandbox.SandboxPaused: pb.SandboxState_SANDBOX_STATE_PAUSED,
		sandbox.SandboxStopped: pb.SandboxState_SANDBOX_STATE_STOPPED, sandbox.SandboxFailed: pb.SandboxState_SANDBOX_STATE_FAILED,
	}
	if got, want := len(states), len(pb.SandboxState_name); got != want {
		t.Errorf("%d states compared, the API has %d", got, want)
	}
	for in, want := range states {
		if got := sandboxProto(sandbox.Sandbox{State: in}).GetState(); got != want {
			t.Errorf("state %d = %v, want %v", in, got, want)
		}
	}
	if pb.LogLevel(sandbox.LogInfo) != pb.LogLevel_LOG_LEVEL_INFO || pb.LogLevel(sandbox.LogWarn) != pb.LogLevel_LOG_LEVEL_WARN {
		t.Error("the levels of logs differ")
	}
}

// What a program prints is kept within its bound, over both streams, to the byte.
func TestCollectorKeepsWithinItsBound(t *testing.T) {
	c := &collector{left: 10}
	for i, tt := range []struct {
		out  sandbox.ProcessOutput
		more bool
	}{
		{sandbox.ProcessOutput{Stdout: []byte("12345")}, true},
		{sandbox.ProcessOutput{Stderr: []byte("678")}, true},
		{sandbox.ProcessOutput{Stdout: []byte("90")}, true},
		{sandbox.ProcessOutput{Stdout: []byte("x")}, false},
		{sandbox.ProcessOutput{Stderr: []byte("y")}, false},
	} {
		if got := c.keep(&tt.out); got != tt.more {
			t.Errorf("piece %d: keep = %v, want %v", i, got, tt.more)
		}
	}
	if string(c.stdout) != "1234590" || string(c.stderr) != "678" || !c.truncated {
		t.Errorf("kept %q and %q, truncated %v", c.stdout, c.stderr, c.truncated)
	}
}
