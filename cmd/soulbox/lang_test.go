package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/soulbox/soulbox/images"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

func TestSampleProblem(t *testing.T) {
	hello := images.Sample{Stdout: "hello\n"}
	broken := images.Sample{CompileError: true, CompileStderr: "expected"}
	for _, tc := range []struct {
		name   string
		sample images.Sample
		x      *pb.Execution
		want   string
	}{
		{"right", hello, &pb.Execution{Verdict: pb.Verdict_VERDICT_OK, Stdout: "hello\n"}, ""},
		{"other output", hello, &pb.Execution{Verdict: pb.Verdict_VERDICT_OK, Stdout: "hi\n"}, `it prints "hi\n", not "hello\n"`},
		{"fails", hello, &pb.Execution{Verdict: pb.Verdict_VERDICT_RUNTIME_ERROR, Stdout: "hello\n", Stderr: "oh"}, `runtime error: "oh"`},
		{"does not compile", hello, &pb.Execution{Verdict: pb.Verdict_VERDICT_COMPILE_ERROR, Compile: &pb.Step{Stderr: "no"}}, `compile error: "no"`},
		{"must not compile", broken, &pb.Execution{Verdict: pb.Verdict_VERDICT_COMPILE_ERROR, Compile: &pb.Step{Stderr: "x.c: expected ;"}}, ""},
		{"compiles", broken, &pb.Execution{Verdict: pb.Verdict_VERDICT_OK}, "it must not compile, and the verdict is ok"},
		{"fails to compile otherwise", broken, &pb.Execution{Verdict: pb.Verdict_VERDICT_COMPILE_ERROR, Compile: &pb.Step{Stderr: "killed"}},
			`the compiler does not mention "expected": "killed"`},
	} {
		if got := sampleProblem(tc.sample, tc.x); got != tc.want {
			t.Errorf("%s: sampleProblem = %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestChosen(t *testing.T) {
	all, err := chosen(nil)
	if err != nil || len(all) < 9 {
		t.Errorf("chosen() = %d recipes, %v", len(all), err)
	}
	two, err := chosen([]string{"PY", "c++"})
	if err != nil || len(two) != 2 || two[0].Name != "python" || two[1].Name != "cpp" {
		t.Errorf("chosen(PY, c++) = %v, %v", two, err)
	}
	if _, err := chosen([]string{"cobol"}); err == nil {
		t.Error("chosen(cobol) = nil error")
	}
}

func TestPsRow(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	created := timestamppb.New(now.Add(-time.Minute))
	for _, tc := range []struct {
		x    *pb.Execution
		want []string
	}{
		{&pb.Execution{Id: "i1", Language: "c", State: pb.State_STATE_RUNNING, CreatedAt: created}, []string{"i1", "c", "running", "-", "-", "-", "1 min"}},
		{&pb.Execution{Id: "i2", Language: "go", State: pb.State_STATE_DONE, Verdict: pb.Verdict_VERDICT_TIME_LIMIT, CreatedAt: created,
			Usage: &pb.Usage{WallTime: durationpb.New(1234 * time.Millisecond), PeakMemoryBytes: 3 << 20}},
			[]string{"i2", "go", "done", "time limit", "1.23s", "3 MiB", "1 min"}},
	} {
		if diff := cmp.Diff(tc.want, psRow(tc.x, now)); diff != "" {
			t.Errorf("psRow(%s) (-want +got):\n%s", tc.x.GetId(), diff)
		}
	}
}

func TestParseState(t *testing.T) {
	for s, want := range map[string]pb.State{"": 0, "queued": pb.State_STATE_QUEUED, "Running": pb.State_STATE_RUNNING, "done": pb.State_STATE_DONE} {
		if got, err := parseState(s); err != nil || got != want {
			t.Errorf("parseState(%q) = %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"sleeping", "unspecified"} {
		if _, err := parseState(s); err == nil {
			t.Errorf("parseState(%q) = nil error", s)
		}
	}
}
