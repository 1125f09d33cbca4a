package seccomp

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/net/bpf"
)

// Data is what a filter sees of a system call: the kernel's struct seccomp_data.
type Data struct {
	Number             uint32
	Arch               uint32 // AUDIT_ARCH_*
	InstructionPointer uint64
	Args               [6]uint64
}

// instructionSize is the size of the kernel's struct sock_filter in bytes.
const instructionSize = 8

// Evaluate returns what a raw filter, an array of struct sock_filter in little-endian order as [Compile] returns it,
// does with a call.
func Evaluate(filter []byte, d Data) (Action, error) {
	e, err := newEvaluator(filter)
	if err != nil {
		return 0, err
	}
	return e.run(d)
}

// evaluator evaluates one filter many times. It is not safe for concurrent use.
type evaluator struct {
	vm     *bpf.VM
	packet [64]byte
}

func newEvaluator(filter []byte) (*evaluator, error) {
	raw, err := decode(filter)
	if err != nil {
		return nil, err
	}
	instructions, ok := bpf.Disassemble(raw)
	if !ok {
		return nil, errors.New("disassemble filter: it has instructions that are not BPF")
	}
	vm, err := bpf.NewVM(instructions)
	if err != nil {
		return nil, fmt.Errorf("check filter of %d instructions: %w", len(raw), err)
	}
	return &evaluator{vm: vm}, nil
}

// run lays d out as the VM, made for packets, reads words: big-endian each, in the places where the kernel of a
// little-endian machine has them.
func (e *evaluator) run(d Data) (Action, error) {
	put := func(offset int, v uint32) { binary.BigEndian.PutUint32(e.packet[offset:], v) }
	put(0, d.Number)
	put(4, d.Arch)
	for i, v := range append([]uint64{d.InstructionPointer}, d.Args[:]...) {
		put(8+8*i, uint32(v))
		put(12+8*i, uint32(v>>32))
	}
	action, err := e.vm.Run(e.packet[:])
	if err != nil {
		return 0, fmt.Errorf("evaluate filter for call %d: %w", d.Number, err)
	}
	return Action(uint32(action)), nil
}

// decode returns the instructions of a raw filter.
func decode(filter []byte) ([]bpf.RawInstruction, error) {
	if len(filter) == 0 || len(filter)%instructionSize != 0 {
		return nil, fmt.Errorf("read filter: %d bytes are no array of %d-byte instructions", len(filter), instructionSize)
	}
	raw := make([]bpf.RawInstruction, 0, len(filter)/instructionSize)
	for b := filter; len(b) > 0; b = b[instructionSize:] {
		raw = append(raw, bpf.RawInstruction{Op: binary.LittleEndian.Uint16(b), Jt: b[2], Jf: b[3], K: binary.LittleEndian.Uint32(b[4:])})
	}
	return raw, nil
}

// encode is the inverse of decode.
func encode(raw []bpf.RawInstruction) []byte {
	b := make([]byte, 0, len(raw)*instructionSize)
	for _, r := range raw {
		b = binary.LittleEndian.AppendUint16(b, r.Op)
		b = append(b, r.Jt, r.Jf)
		b = binary.LittleEndian.AppendUint32(b, r.K)
	}
	return b
}
