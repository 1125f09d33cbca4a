package main

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/sandbox"
)

// FuzzExecutionRecord: whatever a disk holds in place of a record is refused or read, and what was read is written and
// read again as the same.
func FuzzExecutionRecord(f *testing.F) {
	codec, err := newExecutionCodec()
	if err != nil {
		f.Fatal(err)
	}
	whole, err := codec.row(&sandbox.Execution{ID: "i00000000000000000000", Tenant: "default", State: sandbox.StateDone,
		Step: sandbox.Step{Stdout: []byte("\xff"), LimitsHit: []sandbox.LimitName{}}, Compile: &sandbox.Step{}, Outputs: []sandbox.File{{Path: "x"}}})
	if err != nil {
		f.Fatal(err)
	}
	packed, err := codec.row(&sandbox.Execution{Step: sandbox.Step{Stdout: bytes.Repeat([]byte("\xff"), packAbove), Stderr: []byte("x")}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed.payload)
	f.Add(append([]byte(`{"packed":[1,-1]}`), packed.payload[bytes.IndexByte(packed.payload, 0):]...))
	for _, seed := range []string{string(whole.payload), `{"packed":[]}`, "{}\x00", "", "null", "{}", "[]", `{"createdAt":"0001-01-01T00:00:00Z","run":null,"compile":{}}`, `{"state":-1,"outputs":[null]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := codec.decode(b)
		if err != nil {
			return
		}
		again, err := codec.row(x.x)
		if err != nil {
			return // a time that JSON cannot hold
		}
		y, err := codec.decode(again.payload)
		if err != nil {
			t.Fatalf("decode what was encoded of %q: %v", b, err)
		}
		if diff := cmp.Diff(x.x, y.x); diff != "" {
			t.Errorf("%q reads differently once rewritten (-first +second):\n%s", b, diff)
		}
	})
}
