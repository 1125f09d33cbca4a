package codec_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/soulbox/soulbox/rpc/codec"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

func TestErrorsNameTheField(t *testing.T) {
	for _, tt := range []struct{ in, field, msg string }{
		{``, "", "the body is empty, want a JSON object"},
		{" \n", "", "the body is empty, want a JSON object"},
		{`{"language":"c"`, "", "not valid JSON: unexpected EOF"},
		{`[1]`, "", "not valid JSON at line 1, column 1: unexpected token ["},
		{`null`, "", "not valid JSON at line 1, column 1: unexpected token null"},
		{`{} {}`, "", "not valid JSON at line 1, column 4: unexpected token {"},
		{"{\"language\":\"c\",\n  \"é\":1, \"x\":2}", "é", "unknown field"},
		{`{"bogus":1}`, "bogus", "unknown field"},
		{`{"limits":{"bogus":1}}`, "limits.bogus", "unknown field"},
		{`{"limits":{"wallTime":"soon"}}`, "limits.wallTime", `invalid google.protobuf.Duration value "soon"`},
		{`{"limits":{"processes":-1}}`, "limits.processes", "invalid value for uint32 field processes: -1"},
		{`{"files":[{"path":"a"},{"path":"b","mode":"x"}]}`, "files[1].mode", `invalid value for uint32 field mode: "x"`},
		{`{"files":[{"content":"*"}]}`, "files[0].content", `invalid value for bytes field content: "*"`},
		{`{"args":["a",{"b":1}]}`, "args[1]", "invalid value for string field args: {"},
		{`{"env":{"a":1}}`, "env.a", "invalid value for string field value: 1"},
		{`{"code":"1","code":"2"}`, "code", `duplicate field "code"`},
		{`{"limits":3}`, "limits", "unexpected token 3"},
	} {
		err := codec.JSON{}.Unmarshal([]byte(tt.in), &pb.ExecuteCodeRequest{})
		e, ok := errors.AsType[*codec.Error](err)
		if !ok {
			t.Errorf("Unmarshal(%s) = %v, want a *codec.Error", tt.in, err)
			continue
		}
		if e.Field != tt.field || !strings.Contains(e.Msg, tt.msg) {
			t.Errorf("Unmarshal(%s) = field %q, %q; want %q, %q", tt.in, e.Field, e.Msg, tt.field, tt.msg)
		}
	}
}

func TestDeferred(t *testing.T) {
	m := &pb.ExecuteCodeRequest{Code: "left from before"}
	if err := (codec.Deferred{}).Unmarshal([]byte(`{"limits":{"x":1}}`), m); err != nil {
		t.Fatalf("Unmarshal of wrong JSON = %v, want nil", err)
	}
	want := &codec.Error{Field: "limits.x", Msg: "unknown field"}
	if diff := cmp.Diff(want, codec.Failure(m)); diff != "" {
		t.Errorf("Failure (-want +got):\n%s", diff)
	}
	if m.GetCode() != "" {
		t.Errorf("the message still says %q", m.GetCode())
	}
	if err := (codec.Deferred{}).Unmarshal([]byte(`{"code":"1"}`), m); err != nil || codec.Failure(m) != nil || m.GetCode() != "1" {
		t.Errorf("Unmarshal of good JSON = %v, failure %v, code %q", err, codec.Failure(m), m.GetCode())
	}
	for _, unknown := range []string{"\xff", "\xfa\xff\xff\xff\x0f", "\x08\x01", "\xfa\xff\xff\xff\x0f\x7f"} { // as hostile clients send
		m.ProtoReflect().SetUnknown([]byte(unknown))
		if got := codec.Failure(m); got != nil {
			t.Errorf("Failure with unknown fields %q = %v, want nil", unknown, got)
		}
	}
	if err := (codec.Deferred{}).Unmarshal([]byte(`{}`), "no message"); err == nil {
		t.Error("Unmarshal into a string = nil, want an error")
	}
}

func TestMarshal(t *testing.T) {
	got, err := codec.JSON{}.Marshal(&pb.Usage{WallTime: durationpb.New(1_500_000_000), PeakMemoryBytes: 1 << 40})
	want := `{"wallTime":"1.500s","userTime":null,"systemTime":null,"peakMemoryBytes":"1099511627776"}`
	if err != nil || string(got) != want {
		t.Errorf("Marshal = %s, %v, want %s", got, err, want)
	}
	if _, err := (codec.JSON{}).Marshal(3); err == nil {
		t.Error("Marshal(3) = nil, want an error")
	}
	if err := (codec.JSON{}).Unmarshal([]byte("{}"), 3); err == nil {
		t.Error("Unmarshal into 3 = nil, want an error")
	}
	if got := (codec.JSON{As: codec.NameJSONUTF8}).Name(); got != codec.NameJSONUTF8 {
		t.Errorf("Name = %q", got)
	}
	if got := (codec.JSON{}).Name(); got != codec.NameJSON || (codec.JSON{}).IsBinary() {
		t.Errorf("Name = %q, IsBinary = %t", got, codec.JSON{}.IsBinary())
	}
}

// FuzzUnmarshal: what is accepted survives writing and reading, what is refused is a *codec.Error, and Deferred agrees.
func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{
		`{"language":"python","code":"print(1)","limits":{"wallTime":"1s","memoryBytes":"67108864"},"wait":false}`,
		`{"language":"c","files":[{"path":"a.c","content":"AA==","mode":420}],"env":{"A":"b"},"args":["x"],"outputs":["o"]}`,
		`{"limits":{"bogus":1}}`, `{"files":[{"path":1}]}`, `{"env":{"a":{}}}`, "{\"\u00e9\":\"\\ud83d\",\n\"b\":1}", `[[[[`, `{"a":[{"b":[}]}`,
		`null`, `{} x`, `{"code":"\ud800"}`, "\xff", `{"limits":{"wallTime":"-1s","cpuTime":"315576000001s"}}`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, deferred := &pb.ExecuteCodeRequest{}, &pb.ExecuteCodeRequest{}
		err := codec.JSON{}.Unmarshal(data, m)
		if derr := (codec.Deferred{}).Unmarshal(data, deferred); derr != nil {
			t.Fatalf("Deferred.Unmarshal(%q) = %v", data, derr)
		}
		if err != nil {
			e, ok := errors.AsType[*codec.Error](err)
			if !ok || e.Msg == "" {
				t.Fatalf("Unmarshal(%q) = %#v, want a *codec.Error with a text", data, err)
			}
			if diff := cmp.Diff(e, codec.Failure(deferred)); diff != "" {
				t.Fatalf("Failure after %q (-want +got):\n%s", data, diff)
			}
			return
		}
		if failure := codec.Failure(deferred); failure != nil {
			t.Fatalf("Failure after %q = %v, want nil", data, failure)
		}
		out, err := codec.JSON{}.Marshal(m)
		if err != nil {
			t.Fatalf("Marshal of what %q gave: %v", data, err)
		}
		if !json.Valid(out) {
			t.Fatalf("Marshal wrote no JSON: %s", out)
		}
		again := &pb.ExecuteCodeRequest{}
		if err := (codec.JSON{}).Unmarshal(out, again); err != nil {
			t.Fatalf("Unmarshal(%s): %v", out, err)
		}
		if diff := cmp.Diff(m, again, protocmp.Transform()); diff != "" {
			t.Fatalf("written and read (-want +got):\n%s", diff)
		}
	})
}
