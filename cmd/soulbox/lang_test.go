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
	for _, tc := range []struct {
		name   string
		sample images.Sample
		x      *pb.Execution
		want   string
	}{
		{"right", hello, &pb.Execution{Verdict: pb.Verdict_VERDICT_OK, Stdout: "hello\n"}, ""},
		{"other output", hello, &pb.Execution{Verdict: pb.Verdict_VERDICT_OK, Stdout: "hi\n"}, `it prints "hi\n", not "hello\n"`},
		{"does not compile", hello, &pb.Execution{Verdict: pb.Verdict_VERDICT_COMPILE_ERROR, Compile: &pb.Step{Stderr: "no"}}, `it does not compile: "no"`},
		{"must end with 3", images.Sample{ExitCode: 3}, &pb.Execution{Verdict: pb.Verdict_VERDICT_RUNTIME_ERROR, ExitCode: 3}, ""},
		{"must be killed", images.Sample{Signal: "SIGABRT"}, &pb.Execution{Verdict: pb.Verdict_VERDICT_SIGNALLED, ExitCode: -1, Signal: "SIGABRT"}, ""},
		{"out of memory, though it ends as it must", images.Sample{ExitCode: 1}, &pb.Execution{Verdict: pb.Verdict_VERDICT_MEMORY_LIMIT, ExitCode: 1, Stderr: "oh"},
			`memory limit: "oh"`},
		{"failed", hello, &pb.Execution{Verdict: pb.Verdict_VERDICT_INTERNAL, Detail: "the agent is gone"}, `internal: "the agent is gone"`},
	} {
		if got := sampleProblem(tc.sample, tc.x); got != tc.want {
			t.Errorf("%s: sampleProblem = %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestNamed(t *testing.T) {
	catalog, err := images.Load()
	if err != nil {
		t.Fatal(err)
	}
	two, err := named(catalog, []string{"PY", "c++"})
	if err != nil || len(two) != 2 || two[0].Name != "python" || two[1].Name != "cpp" {
		t.Errorf("named(PY, c++) = %v, %v", two, err)
	}
	if _, err := named(catalog, []string{"cobol"}); err == nil {
		t.Error("named(cobol) = nil error")
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
