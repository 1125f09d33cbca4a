package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

func TestRunOutcome(t *testing.T) {
	limits := &pb.Limits{WallTime: durationpb.New(2 * time.Second), CpuTime: durationpb.New(time.Second), MemoryBytes: 64 << 20, Processes: 16,
		OutputBytes: 1 << 20, DiskBytes: 8 << 20}
	for _, tc := range []struct {
		name   string
		x      *pb.Execution
		status int
		line   string
	}{
		{"ok", &pb.Execution{Verdict: pb.Verdict_VERDICT_OK}, 0, ""},
		{"ok, but it was close", &pb.Execution{Verdict: pb.Verdict_VERDICT_OK, LimitsHit: []string{"processes", "memoryBytes"}}, 0,
			"touched its limits: memoryBytes 64 MiB, processes 16"},
		{"exit status", &pb.Execution{Verdict: pb.Verdict_VERDICT_RUNTIME_ERROR, ExitCode: 3}, 3, ""},
		{"signal", &pb.Execution{Verdict: pb.Verdict_VERDICT_SIGNALLED, ExitCode: -1, Signal: "SIGSEGV"}, 139, "killed by SIGSEGV"},
		{"unknown signal", &pb.Execution{Verdict: pb.Verdict_VERDICT_SIGNALLED, ExitCode: -1, Signal: "SIG\x1b"}, 137, "killed by SIG?"},
		{"wall time", &pb.Execution{Verdict: pb.Verdict_VERDICT_TIME_LIMIT, ExitCode: -1, Signal: "SIGKILL"}, 124, "time limit: stopped after 2s (--timeout)"},
		{"cpu time", &pb.Execution{Verdict: pb.Verdict_VERDICT_CPU_LIMIT, ExitCode: -1, Signal: "SIGKILL"}, 124, "cpu limit: stopped after 1s of CPU time (--cpu)"},
		{"memory, said by the runtime", &pb.Execution{Verdict: pb.Verdict_VERDICT_MEMORY_LIMIT, ExitCode: 1}, 137, "memory limit: it needs more than 64 MiB (--memory)"},
		{"output", &pb.Execution{Verdict: pb.Verdict_VERDICT_OUTPUT_LIMIT, ExitCode: -1, Signal: "SIGKILL"}, 137, "output limit: stopped after 1 MiB of output (--output-limit)"},
		{"disk", &pb.Execution{Verdict: pb.Verdict_VERDICT_DISK_LIMIT, ExitCode: 1, LimitsHit: []string{"diskBytes"}}, 1, "disk limit: diskBytes 8 MiB"},
		{"file size", &pb.Execution{Verdict: pb.Verdict_VERDICT_DISK_LIMIT, ExitCode: -1, Signal: "SIGXFSZ", LimitsHit: []string{"fileBytes"}}, 153, "disk limit: fileBytes 0 B"},
		{"processes", &pb.Execution{Verdict: pb.Verdict_VERDICT_PROCESS_LIMIT, ExitCode: 1, LimitsHit: []string{"processes"}}, 1, "process limit: processes 16"},
		{"compile error", &pb.Execution{Verdict: pb.Verdict_VERDICT_COMPILE_ERROR, Compile: &pb.Step{Verdict: pb.Verdict_VERDICT_RUNTIME_ERROR}}, 2, "it did not compile"},
		{"compiler out of memory", &pb.Execution{Verdict: pb.Verdict_VERDICT_COMPILE_ERROR, Compile: &pb.Step{Verdict: pb.Verdict_VERDICT_MEMORY_LIMIT}}, 2,
			"it did not compile: the compiler's memory limit"},
		{"cancelled", &pb.Execution{Verdict: pb.Verdict_VERDICT_CANCELLED, ExitCode: -1}, 130, "cancelled"},
		{"internal", &pb.Execution{Verdict: pb.Verdict_VERDICT_INTERNAL, Detail: "the agent\nis gone"}, 125, "SoulBox failed, not the program: the agent?is gone"},
		{"nothing", &pb.Execution{}, 125, "it did not end"},
	} {
		tc.x.Limits = limits
		if got := runStatus(tc.x); got != tc.status {
			t.Errorf("%s: runStatus = %d, want %d", tc.name, got, tc.status)
		}
		if got := outcome(tc.x); got != tc.line {
			t.Errorf("%s: outcome = %q, want %q", tc.name, got, tc.line)
		}
	}
}

func TestSaveOutputs(t *testing.T) {
	top := t.TempDir()
	outside, dir := filepath.Join(top, "outside"), filepath.Join(top, "dir")
	for _, d := range []string{outside, dir} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	asked := []string{"a/b.txt", "gone.txt", "run.sh"}
	err := saveOutputs(dir, asked, []*pb.File{
		{Path: "a/b.txt", Content: []byte("b"), Mode: 0o444},
		{Path: "run.sh", Content: []byte("#!"), Mode: 0o4755},
		{Path: "never-asked.txt", Content: []byte("no")},
	}, &said)
	if err != nil {
		t.Fatalf("saveOutputs: %v", err)
	}
	if want := "soulbox: the program left no file gone.txt\n"; said.String() != want {
		t.Errorf("saveOutputs said %q, want %q", &said, want)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "a/b.txt")); err != nil || string(b) != "b" {
		t.Errorf("a/b.txt = %q, %v, want b", b, err)
	}
	if st, err := os.Stat(filepath.Join(dir, "run.sh")); err != nil || st.Mode() != 0o755 {
		t.Errorf("run.sh: %v, %v, want mode 0755", st, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "never-asked.txt")); err == nil {
		t.Error("a file was written that nobody asked for")
	}
	for _, escape := range []string{"../outside/x", "link/x", "/x"} {
		if err := saveOutputs(dir, []string{escape}, []*pb.File{{Path: escape, Content: []byte("x")}}, &said); err == nil {
			t.Errorf("saveOutputs(%q) = nil error", escape)
		}
	}
	if list, err := os.ReadDir(outside); err != nil || len(list) > 0 {
		t.Errorf("outside has %v, %v, want nothing", list, err)
	}
}

func TestAddFiles(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Mkdir("sub", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sub/a", "b"} {
		if err := os.WriteFile(name, []byte(name), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	req := &pb.StreamExecutionRequest{}
	if err := addFiles(req, []string{"sub/a", filepath.Join(dir, "b"), "in/side=./b", "./b"}); err != nil {
		t.Fatalf("addFiles: %v", err)
	}
	var got []string
	for _, f := range req.GetFiles() {
		got = append(got, f.GetPath()+" "+string(f.GetContent()))
	}
	if diff := cmp.Diff([]string{"sub/a sub/a", "b b", "in/side b", "b b"}, got); diff != "" {
		t.Errorf("addFiles (-want +got):\n%s", diff)
	}
	if mode := req.GetFiles()[0].GetMode(); mode != 0o750 {
		t.Errorf("mode = %o, want 750", mode)
	}
	if err := addFiles(req, []string{"missing"}); err == nil {
		t.Error("addFiles(missing) = nil error")
	}
}
