package v1

import (
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/sandbox"
)

// execution converts a record.
func execution(x sandbox.Execution) *pb.Execution {
	stdout, stdoutRaw := text(x.Stdout)
	stderr, stderrRaw := text(x.Stderr)
	out := &pb.Execution{
		Id:                string(x.ID),
		RequestId:         x.RequestID,
		Language:          x.Language,
		Image:             valid(x.Image),
		ImageDigest:       x.ImageDigest,
		Runtime:           x.Runtime,
		State:             state(x.State),
		Verdict:           verdict(x.Verdict),
		LimitsHit:         limitNames(x.LimitsHit),
		Stdout:            stdout,
		Stderr:            stderr,
		StdoutRaw:         stdoutRaw,
		StderrRaw:         stderrRaw,
		StdoutInvalidUtf8: stdoutRaw != nil,
		StderrInvalidUtf8: stderrRaw != nil,
		StdoutTruncated:   x.StdoutTruncated,
		StderrTruncated:   x.StderrTruncated,
		ExitCode:          int32(x.ExitCode), // -1..255
		Signal:            x.Signal,
		Usage:             usage(x.Usage),
		Clamped:           limitNames(x.Clamped),
		Unenforced:        limitNames(x.Unenforced),
		CreatedAt:         timestamp(x.CreatedAt),
		StartedAt:         timestamp(x.StartedAt),
		EndedAt:           timestamp(x.EndedAt),
		Limits:            limitsProto(x.Limits),
		Detail:            valid(x.Detail),
		OutputsExpired:    x.OutputsExpired,
	}
	if x.Compile != nil {
		out.Compile = step(*x.Compile)
	}
	for _, f := range x.Outputs {
		out.Outputs = append(out.Outputs, &pb.File{Path: valid(f.Path), Content: f.Content, Mode: f.Mode})
	}
	return out
}

func step(s sandbox.Step) *pb.Step {
	stdout, stdoutRaw := text(s.Stdout)
	stderr, stderrRaw := text(s.Stderr)
	return &pb.Step{
		Verdict:           verdict(s.Verdict),
		LimitsHit:         limitNames(s.LimitsHit),
		Stdout:            stdout,
		Stderr:            stderr,
		StdoutRaw:         stdoutRaw,
		StderrRaw:         stderrRaw,
		StdoutInvalidUtf8: stdoutRaw != nil,
		StderrInvalidUtf8: stderrRaw != nil,
		StdoutTruncated:   s.StdoutTruncated,
		StderrTruncated:   s.StderrTruncated,
		ExitCode:          int32(s.ExitCode), // -1..255
		Signal:            s.Signal,
		Usage:             usage(s.Usage),
	}
}

// event converts ev; nil for a kind that clients do not know.
func event(ev sandbox.Event) *pb.ExecutionEvent {
	out := &pb.ExecutionEvent{Seq: clampUint32(ev.Seq), Compile: ev.Compile}
	switch ev.Kind {
	case sandbox.EventStarted:
		out.Event = &pb.ExecutionEvent_Started{Started: execution(record(ev))}
	case sandbox.EventStdout:
		out.Event = &pb.ExecutionEvent_Stdout{Stdout: output(ev.Data)}
	case sandbox.EventStderr:
		out.Event = &pb.ExecutionEvent_Stderr{Stderr: output(ev.Data)}
	case sandbox.EventUsage:
		out.Event = &pb.ExecutionEvent_Usage{Usage: usage(ev.Usage)}
	case sandbox.EventResult:
		out.Event = &pb.ExecutionEvent_Result{Result: execution(record(ev))}
	default:
		return nil
	}
	return out
}

func record(ev sandbox.Event) sandbox.Execution {
	if ev.Execution == nil {
		return sandbox.Execution{}
	}
	return *ev.Execution
}

func output(data []byte) *pb.Output {
	s, raw := text(data)
	return &pb.Output{Text: s, Raw: raw}
}

func usage(u sandbox.Usage) *pb.Usage {
	return &pb.Usage{
		WallTime:        durationpb.New(u.Wall),
		UserTime:        durationpb.New(u.User),
		SystemTime:      durationpb.New(u.System),
		PeakMemoryBytes: u.PeakMemory,
	}
}

// text returns b as text, each byte that is not UTF-8 replaced by U+FFFD, and b itself only when there was one.
func text(b []byte) (string, []byte) {
	if utf8.Valid(b) {
		return string(b), nil
	}
	var s strings.Builder
	s.Grow(len(b) + len(b)/2)
	for _, r := range string(b) { // yields U+FFFD once for each byte that is not UTF-8
		s.WriteRune(r)
	}
	return s.String(), b
}

// valid makes s fit for a protobuf string.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func limitNames(names []sandbox.LimitName) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = string(n)
	}
	return out
}

// state and verdict convert by value: both lists are append-only on both sides, and a test compares them.
func state(s sandbox.State) pb.State { return pb.State(s) }

func verdict(v sandbox.Verdict) pb.Verdict { return pb.Verdict(v) }
