package main_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testLimits runs into every limit there is.
func testLimits(t *testing.T, d *daemon) {
	for _, c := range []struct {
		name, language, code string
		limits               object
		verdict, hit, signal string
	}{
		{"wall time", "python", "import time\ntime.sleep(60)", object{"wallTime": "0.5s"}, "VERDICT_TIME_LIMIT", "wallTime", "SIGKILL"},
		{"CPU time", "python", "while True: pass", object{"cpuTime": "0.5s"}, "VERDICT_CPU_LIMIT", "cpuTime", "SIGKILL"},
		{"CPU time of children", "python", "import os\nfor _ in range(3):\n  if os.fork() == 0:\n    while True: pass\nos.wait()",
			object{"cpuTime": "1s", "processes": 8}, "VERDICT_CPU_LIMIT", "cpuTime", "SIGKILL"},
		{"memory", "python", "x = bytearray(200 << 20)\nprint(len(x))", object{"memoryBytes": "50331648"}, "VERDICT_MEMORY_LIMIT", "memoryBytes", ""},
		{"memory of node", "javascript", "const a = []; for (;;) a.push(new Array(1000).fill({}));", object{"memoryBytes": "134217728"}, "VERDICT_MEMORY_LIMIT", "memoryBytes", ""},
		{"output", "python", "while True: print('x' * 1000)", object{"outputBytes": "10000"}, "VERDICT_OUTPUT_LIMIT", "outputBytes", "SIGKILL"},
		{"file size", "python", "open('f', 'wb').write(b'x' * 2000000)", object{"fileBytes": "1000000"}, "VERDICT_DISK_LIMIT", "", ""},
		{"disk", "python", "open('f', 'wb').write(b'x' * 2000000)", object{"diskBytes": "1048576"}, "VERDICT_DISK_LIMIT", "diskBytes", ""},
		{"inodes", "python", "for i in range(100): open(str(i), 'w').close()", object{"inodes": "50"}, "VERDICT_DISK_LIMIT", "inodes", ""},
		{"processes", "python", "import os, time\nfor _ in range(20):\n  if os.fork() == 0: time.sleep(5); os._exit(0)", object{"processes": 4}, "VERDICT_PROCESS_LIMIT", "processes", ""},
		{"open files", "python", "fs = [open('/dev/null') for _ in range(100)]", object{"openFiles": 32}, "VERDICT_RUNTIME_ERROR", "", ""},
		{"exit", "python", "import sys\nsys.exit(7)", nil, "VERDICT_RUNTIME_ERROR", "", ""},
		{"signal", "c", "#include <stdlib.h>\nint main(void) { abort(); }", nil, "VERDICT_SIGNALLED", "", "SIGABRT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := d.execute(t, object{"language": c.language, "code": c.code, "limits": c.limits})
			if x.Verdict != c.verdict || (c.hit != "" && !slices.Contains(x.LimitsHit, c.hit)) || (c.signal != "" && (x.Signal != c.signal || x.ExitCode != -1)) {
				t.Errorf("got %s, limits %v, exit %d, signal %q, want %s, %q, %q; stderr %.300q", x.Verdict, x.LimitsHit, x.ExitCode, x.Signal, c.verdict, c.hit, c.signal, x.Stderr)
			}
		})
	}
	t.Run("4 MiB", func(t *testing.T) {
		t.Parallel()
		x := d.execute(t, object{"language": "c", "code": hello()["c"], "limits": object{"memoryBytes": "4194304"}})
		if x.Verdict != "VERDICT_OK" || x.Limits.MemoryBytes != "4194304" {
			t.Errorf("a small program in 4 MiB: got %s, %+v, %+v", x.Verdict, x.Usage, x.Limits)
		}
	})
	t.Run("clamped", func(t *testing.T) {
		t.Parallel()
		x := d.execute(t, object{"language": "python", "code": "1", "limits": object{"memoryBytes": "1073741824", "wallTime": "3600s", "processes": 5000}})
		slices.Sort(x.Clamped)
		if diff := cmp.Diff([]string{"memoryBytes", "processes", "wallTime"}, x.Clamped); diff != "" || x.Limits.MemoryBytes != "536870912" || x.Limits.WallTime != "600s" {
			t.Errorf("limits in force %+v, clamped (-want +got):\n%s", x.Limits, diff)
		}
	})
	t.Run("unenforced", func(t *testing.T) {
		t.Parallel()
		x := d.execute(t, object{"language": "python", "code": "1"})
		info := decode[struct{ Warnings []struct{ Name string } }](t, d.get(t, "/v1/system/info"))
		for limit, warning := range map[string]string{"memoryBytes": "memory-unenforced", "cpuTime": "cpu-unenforced", "processes": "processes-unenforced"} {
			warned := slices.ContainsFunc(info.Warnings, func(w struct{ Name string }) bool { return w.Name == warning })
			if listed := slices.Contains(x.Unenforced, limit); listed != warned {
				t.Errorf("%s unenforced: %v in an execution, warned of at start: %v", limit, listed, warned)
			}
		}
	})
}

func testOutput(t *testing.T, d *daemon) {
	x := d.execute(t, object{"language": "python", "code": "import sys\nsys.stdout.buffer.write(b'a\\xff\\xfeb')"})
	if x.Stdout != "a\ufffd\ufffdb" || string(x.StdoutRaw) != "a\xff\xfeb" || !x.StdoutInvalidUTF8 {
		t.Errorf("invalid UTF-8: got %q, raw %q, %v", x.Stdout, x.StdoutRaw, x.StdoutInvalidUTF8)
	}
	x = d.execute(t, object{"language": "python", "code": "print('y' * 5000)", "limits": object{"outputBytes": "100"}})
	if x.Stdout != strings.Repeat("y", 100) || !x.StdoutTruncated || x.Verdict != "VERDICT_OUTPUT_LIMIT" {
		t.Errorf("past the limit: got %s, %d bytes, truncated %v, want the first 100", x.Verdict, len(x.Stdout), x.StdoutTruncated)
	}
	x = d.execute(t, object{"language": "python", "code": "import os\nos.write(1, b'y' * 100)", "limits": object{"outputBytes": "100"}})
	if x.Verdict != "VERDICT_OK" || x.StdoutTruncated || len(x.Stdout) != 100 {
		t.Errorf("exactly the limit: got %s, %d bytes, truncated %v, want OK", x.Verdict, len(x.Stdout), x.StdoutTruncated)
	}
}

func testCompile(t *testing.T, d *daemon) {
	x := d.execute(t, object{"language": "c", "code": "int main(void) { return }"})
	if x.Verdict != "VERDICT_COMPILE_ERROR" || x.Compile == nil || x.Compile.Verdict != "VERDICT_COMPILE_ERROR" || x.Compile.ExitCode == 0 ||
		!strings.Contains(x.Compile.Stderr, "error") || x.Stdout != "" || x.ExitCode != -1 {
		t.Errorf("a syntax error: got %+v, compile %+v", x, x.Compile)
	}
	x = d.execute(t, object{"language": "c", "code": "int main(void) { int unused; return 3; }"})
	if x.Verdict != "VERDICT_RUNTIME_ERROR" || x.ExitCode != 3 || x.Compile == nil || x.Compile.Verdict != "VERDICT_OK" {
		t.Errorf("exit 3: got %+v, compile %+v", x, x.Compile)
	}
	x = d.execute(t, object{"language": "typescript", "code": "const x: string = 'unfinished"})
	if x.Verdict != "VERDICT_COMPILE_ERROR" {
		t.Errorf("a TypeScript syntax error: got %+v", x)
	}
}
