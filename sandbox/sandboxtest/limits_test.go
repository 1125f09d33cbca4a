package sandboxtest_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

// limitCase is one program and what must come of it on every host, whoever keeps the limits.
type limitCase struct {
	name      string
	language  string // default: python
	code      string
	stdin     string
	limits    sandbox.Limits
	verdict   sandbox.Verdict
	exit      int                 // -1 when killed
	hit       []sandbox.LimitName // nil: not checked
	stdout    string              // "": not checked
	uncounted sandbox.Verdict     // what comes of it where no cgroup counts processes and looking was too late; 0: the same
	slow      time.Duration       // when set, the wall time must be at least the wall limit and below this
}

const mib = 1 << 20

func limitCases() []limitCase {
	return slices.Concat(endCases(), timeCases(), memoryCases(), diskCases(), processCases())
}

// endCases end without touching a limit.
func endCases() []limitCase {
	return []limitCase{
		{name: "ok", code: "print('hi')", verdict: sandbox.VerdictOK, stdout: "hi\n", hit: []sandbox.LimitName{}},
		{name: "exit status", code: "raise SystemExit(3)", verdict: sandbox.VerdictRuntimeError, exit: 3, hit: []sandbox.LimitName{}},
		{name: "segmentation fault", language: "c", code: "int main(void){volatile int *p=0;return *p;}", verdict: sandbox.VerdictSignalled, exit: -1},
		{name: "abort", language: "c", code: "#include <stdlib.h>\nint main(void){abort();}", verdict: sandbox.VerdictSignalled, exit: -1},
		{name: "kills itself", code: "import os\nos.kill(os.getpid(), 9)", verdict: sandbox.VerdictSignalled, exit: -1, hit: []sandbox.LimitName{}},
		{name: "does not compile", language: "c", code: "int main(void){return x;}", verdict: sandbox.VerdictCompileError, exit: -1},
		{name: "stdin is echoed", code: "import sys\nsys.stdout.write(sys.stdin.read())", stdin: strings.Repeat("x", 500_000),
			verdict: sandbox.VerdictOK, stdout: strings.Repeat("x", 500_000)},
		{name: "static C in 4 MiB", language: "c", code: "#include <stdio.h>\nint main(void){puts(\"small\");return 0;}",
			limits: sandbox.Limits{Memory: sandbox.MinMemory}, verdict: sandbox.VerdictOK, stdout: "small\n"},
		{name: "a zombie storm is no limit", code: "import os\nfor i in range(200):\n  if os.fork() == 0: os._exit(0)\n  os.wait()\nprint('done')",
			verdict: sandbox.VerdictOK, stdout: "done\n"},
		{name: "a daemonised grandchild ends with the run", code: "import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n    time.sleep(1000)\n  os._exit(0)\nos.wait()\nprint('parent')",
			verdict: sandbox.VerdictOK, stdout: "parent\n"},
	}
}

// timeCases run out of time.
func timeCases() []limitCase {
	const burn = "while True: pass"
	return []limitCase{
		{name: "sleeps", code: "import time\ntime.sleep(60)", limits: sandbox.Limits{WallTime: 2 * time.Second},
			verdict: sandbox.VerdictTimeLimit, exit: -1, hit: []sandbox.LimitName{sandbox.LimitWallTime}, slow: 4 * time.Second},
		{name: "ignores signals", code: "import signal, time\nfor s in range(1, 65):\n  try: signal.signal(s, signal.SIG_IGN)\n  except (OSError, ValueError): pass\nwhile True: time.sleep(60)",
			limits: sandbox.Limits{WallTime: 2 * time.Second}, verdict: sandbox.VerdictTimeLimit, exit: -1, slow: 4 * time.Second},
		{name: "endless loop", code: burn, limits: sandbox.Limits{CPUTime: time.Second, WallTime: 50 * time.Second},
			verdict: sandbox.VerdictCPULimit, exit: -1, hit: []sandbox.LimitName{sandbox.LimitCPUTime}},
		{name: "burnt in many children", code: "import os\nfor i in range(6):\n  if os.fork() == 0:\n    while True: pass\nos.wait()",
			limits: sandbox.Limits{CPUTime: 2 * time.Second, WallTime: 50 * time.Second}, verdict: sandbox.VerdictCPULimit, exit: -1},
		{name: "burnt in children one after the other", code: "import os, time\nwhile True:\n  if os.fork() == 0:\n    t = time.process_time()\n    while time.process_time() - t < 0.2: pass\n    os._exit(0)\n  os.wait()",
			limits: sandbox.Limits{CPUTime: 2 * time.Second, WallTime: 50 * time.Second}, verdict: sandbox.VerdictCPULimit, exit: -1},
	}
}

// memoryCases run out of memory.
func memoryCases() []limitCase {
	hog := "b = []\nwhile True: b.append(bytearray(1 << 20))"
	return []limitCase{
		{name: "memory hog", code: hog, limits: sandbox.Limits{Memory: 64 * mib}, verdict: sandbox.VerdictMemoryLimit, exit: -1,
			hit: []sandbox.LimitName{sandbox.LimitMemory}},
		{name: "memory hog in C", language: "c", code: "#include <stdlib.h>\n#include <string.h>\nint main(void){for(;;){char *p=malloc(1<<20);if(p)memset(p,1,1<<20);}}",
			limits: sandbox.Limits{Memory: 32 * mib}, verdict: sandbox.VerdictMemoryLimit, exit: -1},
		{name: "memory hog as a child", code: "import os, sys\npid = os.fork()\nif pid == 0:\n" +
			"  b = []\n  while True: b.append(bytearray(1 << 20))\n_, status = os.wait()\nsys.exit(128 + status)",
			limits: sandbox.Limits{Memory: 64 * mib}, verdict: sandbox.VerdictMemoryLimit, exit: anyExit},
		{name: "what lies in the tmpfs is memory", code: "f = open('/tmp/f', 'wb')\nwhile True: f.write(bytes(1 << 20)); f.flush()",
			limits: sandbox.Limits{Memory: 64 * mib, Disk: 512 * mib, FileSize: 512 * mib}, verdict: sandbox.VerdictMemoryLimit, exit: -1},
	}
}

// diskCases fill their tmpfs.
func diskCases() []limitCase {
	return []limitCase{
		{name: "full disk", code: "f = open('/work/f', 'wb')\nwhile True: f.write(bytes(1 << 16)); f.flush()",
			limits: sandbox.Limits{Disk: 8 * mib}, verdict: sandbox.VerdictDiskLimit, exit: 1, hit: []sandbox.LimitName{sandbox.LimitDisk}},
		{name: "no inodes", code: "import itertools\nfor i in itertools.count(): open(f'/tmp/{i}', 'w').close()",
			limits: sandbox.Limits{Inodes: 100}, verdict: sandbox.VerdictDiskLimit, exit: 1, hit: []sandbox.LimitName{sandbox.LimitInodes}},
		{name: "large file", language: "c", code: "#include <stdio.h>\nint main(void){static char b[1<<16];FILE*f=fopen(\"f\",\"w\");for(;;)fwrite(b,1,sizeof b,f);}",
			limits: sandbox.Limits{FileSize: mib}, verdict: sandbox.VerdictDiskLimit, exit: -1, hit: []sandbox.LimitName{sandbox.LimitFileSize}},
		{name: "large file, the signal ignored", code: "f = open('f', 'wb')\nwhile True: f.write(bytes(1 << 16)); f.flush()",
			limits: sandbox.Limits{FileSize: mib}, verdict: sandbox.VerdictDiskLimit, exit: 1, hit: []sandbox.LimitName{sandbox.LimitFileSize}},
		{name: "large file of a shell's child", code: "import subprocess, sys\nsys.exit(subprocess.call(['sh', '-c', 'head -c 3000000 /dev/zero > f']))",
			limits: sandbox.Limits{FileSize: mib}, verdict: sandbox.VerdictDiskLimit, exit: 153, hit: []sandbox.LimitName{sandbox.LimitFileSize}},
		{name: "what SoulBox wrote does not count", code: "f = open('/work/f', 'wb')\nf.write(bytes(1 << 20))\nf.close()\nprint('fits')",
			limits: sandbox.Limits{Disk: mib}, verdict: sandbox.VerdictOK, stdout: "fits\n"},
		{name: "open files", code: "import os\nn = 0\ntry:\n  while True: os.dup(0); n += 1\nexcept OSError: print(n < 32)",
			limits: sandbox.Limits{OpenFiles: 32}, verdict: sandbox.VerdictOK, stdout: "True\n"},
	}
}

// processCases start too many.
func processCases() []limitCase {
	return []limitCase{
		{name: "fork bomb", code: "import os, time\nwhile True:\n  if os.fork() == 0: time.sleep(60)",
			limits: sandbox.Limits{Processes: 16}, verdict: sandbox.VerdictProcessLimit, exit: 1, hit: []sandbox.LimitName{sandbox.LimitProcesses}},
		{name: "fork bomb that does not give up", code: "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass",
			limits: sandbox.Limits{Processes: 16, CPUTime: 2 * time.Second, WallTime: 50 * time.Second}, verdict: sandbox.VerdictCPULimit, exit: -1},
		{name: "thread storm", code: "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
			limits: sandbox.Limits{Processes: 16}, verdict: sandbox.VerdictProcessLimit, exit: 1, uncounted: sandbox.VerdictRuntimeError},
		{name: "exactly as many as allowed", code: "import os, time\nfor i in range(7):\n  if os.fork() == 0: time.sleep(60)\nprint('eight')",
			limits: sandbox.Limits{Processes: 8}, verdict: sandbox.VerdictOK, stdout: "eight\n"},
	}
}

// anyExit is for programs whose exit depends on which process the kernel chose.
const anyExit = -2

func TestLimits(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	for _, c := range limitCases() {
		t.Run(c.name, func(t *testing.T) {
			if c.language == "" {
				c.language = "python"
			}
			x := execute(t, p, sandbox.Request{Language: c.language, Code: c.code, Stdin: []byte(c.stdin), Limits: c.limits})
			if c.uncounted != 0 && !p.Kept(t).Pids && x.Verdict == c.uncounted {
				return // threads vanish with their process, and the kernel keeps no account of who was refused one
			}
			if x.Verdict != c.verdict || (c.exit != anyExit && x.ExitCode != c.exit) {
				t.Fatalf("verdict %v, exit code %d, want %v, %d; signal %q, limits hit %v, usage %+v, stderr %q, detail %q",
					x.Verdict, x.ExitCode, c.verdict, c.exit, x.Signal, x.LimitsHit, x.Usage, x.Stderr, x.Detail)
			}
			if c.hit != nil {
				if diff := cmp.Diff(c.hit, append([]sandbox.LimitName{}, x.LimitsHit...)); diff != "" {
					t.Errorf("limits hit differ (-want +got):\n%s", diff)
				}
			}
			if c.stdout != "" && string(x.Stdout) != c.stdout {
				t.Errorf("stdout = %.200q, want %.200q", x.Stdout, c.stdout)
			}
			if c.slow > 0 && (x.Usage.Wall < c.limits.WallTime || x.Usage.Wall >= c.slow) {
				t.Errorf("ended after %v, want from %v to %v", x.Usage.Wall, c.limits.WallTime, c.slow)
			}
			checkUsage(t, x)
		})
	}
}

// checkUsage holds what must be true of every program's usage.
func checkUsage(t *testing.T, x sandbox.Execution) {
	t.Helper()
	if x.Verdict == sandbox.VerdictCompileError {
		return
	}
	if x.Usage.Wall <= 0 || x.Usage.PeakMemory <= 0 {
		t.Errorf("usage = %+v, want wall time and peak memory above 0", x.Usage)
	}
	if slices.Contains(x.LimitsHit, sandbox.LimitCPUTime) && x.Usage.User+x.Usage.System < x.Limits.CPUTime*9/10 {
		t.Errorf("CPU time %v+%v at a limit of %v", x.Usage.User, x.Usage.System, x.Limits.CPUTime)
	}
}

// TestOutputLimit cuts exactly at the limit, counted over both streams.
func TestOutputLimit(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	x := execute(t, p, sandbox.Request{Language: "python", Code: "import os\nos.write(2, b'e' * 100)\nwhile True: os.write(1, b'o' * 4096)",
		Limits: sandbox.Limits{Output: 10_000}})
	if x.Verdict != sandbox.VerdictOutputLimit || len(x.Stdout)+len(x.Stderr) != 10_000 || !x.StdoutTruncated {
		t.Errorf("verdict %v, %d+%d bytes, truncated %v %v, want output limit, 10000 in all, stdout truncated", x.Verdict,
			len(x.Stdout), len(x.Stderr), x.StdoutTruncated, x.StderrTruncated)
	}
	// Which stream the last bytes came from depends on who is read first.
	if len(bytes.Trim(x.Stdout, "o")) > 0 || len(bytes.Trim(x.Stderr, "e")) > 0 {
		t.Errorf("stdout %.50q or stderr %.50q holds something else than was written", x.Stdout, x.Stderr)
	}
}

// TestUnenforced lists the limits that no cgroup keeps, and no others.
func TestUnenforced(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	has := p.Kept(t)
	var want []sandbox.LimitName
	for _, l := range []struct {
		kept bool
		name sandbox.LimitName
	}{{has.CPUTime, sandbox.LimitCPUTime}, {has.Memory, sandbox.LimitMemory}, {has.Pids, sandbox.LimitProcesses}} {
		if !l.kept {
			want = append(want, l.name)
		}
	}
	x := execute(t, p, sandbox.Request{Language: "python", Code: "pass"})
	if diff := cmp.Diff(want, x.Unenforced); diff != "" {
		t.Errorf("unenforced differs (-want +got):\n%s", diff)
	}
}

// execute runs a request to its end.
func execute(t *testing.T, p *sandboxtest.Parts, r sandbox.Request) sandbox.Execution {
	t.Helper()
	if r.Client == "" {
		r.Client = "test"
	}
	h, err := p.Engine.Start(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	x, err := h.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if x.Verdict == sandbox.VerdictInternal {
		t.Fatalf("internal: %s", x.Detail)
	}
	return x
}
