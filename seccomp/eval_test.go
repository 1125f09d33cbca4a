package seccomp

import (
	"syscall"
	"testing"

	"golang.org/x/net/bpf"
)

// assemble returns a raw filter.
func assemble(t *testing.T, instructions ...bpf.Instruction) []byte {
	t.Helper()
	raw, err := bpf.Assemble(instructions)
	if err != nil {
		t.Fatal(err)
	}
	return encode(raw)
}

// TestEvaluateReadsEveryField loads each word of seccomp_data where linux/seccomp.h has it.
func TestEvaluateReadsEveryField(t *testing.T) {
	d := Data{Number: 1, Arch: 2, InstructionPointer: 4<<32 | 3}
	for i := range d.Args {
		d.Args[i] = uint64(6+2*i)<<32 | uint64(5+2*i)
	}
	for word := range uint32(16) {
		filter := assemble(t, bpf.LoadAbsolute{Off: 4 * word, Size: 4}, bpf.RetA{})
		got, err := Evaluate(filter, d)
		if want := Action(word + 1); err != nil || got != want {
			t.Errorf("word %d: Evaluate(%+v) = %d, %v; want %d", word, d, uint32(got), err, want)
		}
	}
}

func TestEvaluateRefuses(t *testing.T) {
	for name, filter := range map[string][]byte{
		"empty":             nil,
		"half instruction":  {6, 0, 0, 0},
		"no end":            assemble(t, bpf.LoadAbsolute{Off: 0, Size: 4}),
		"unknown operation": {0xff, 0xff, 0, 0, 0, 0, 0, 0},
		"jump out":          encode([]bpf.RawInstruction{{Op: 0x15, Jt: 9, Jf: 9}, {Op: 0x06}}),
	} {
		if got, err := Evaluate(filter, Data{}); err == nil {
			t.Errorf("%s: Evaluate = %v, want an error", name, got)
		}
	}
}

func TestActionString(t *testing.T) {
	for action, want := range map[Action]string{
		Allow: "allow", KillProcess: "kill process", KillThread: "kill thread", Errno(syscall.EPERM): "EPERM",
		Errno(syscall.ENOSYS): "ENOSYS", Errno(syscall.EAGAIN): "errno 11", 0x7ffc0000: "0x7ffc0000",
	} {
		if got := action.String(); got != want {
			t.Errorf("Action(%#x).String() = %q, want %q", uint32(action), got, want)
		}
	}
}
