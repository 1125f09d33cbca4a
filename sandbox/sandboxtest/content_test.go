package sandboxtest_test

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

// contentCase is a request whose program must end well, and what comes back.
type contentCase struct {
	name    string
	request sandbox.Request
	stdout  string
	stderr  string
	outputs []sandbox.File
}

func contentCases() []contentCase {
	return slices.Concat(textCases(), fileCases(), outputCases())
}

// textCases are about arguments, environment and streams.
func textCases() []contentCase {
	echo := bytes.Repeat([]byte("0123456789abcde\n"), 1<<20/16)
	return []contentCase{
		{name: "a MiB of stdin", stdout: string(echo), request: sandbox.Request{
			Code:  "import shutil, sys\nshutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)",
			Stdin: echo, Limits: sandbox.Limits{Output: 2 * mib}}},
		{name: "stdin that nobody reads", stdout: "1\n", request: sandbox.Request{Code: "print(1)", Stdin: echo}},
		{name: "no stdin", stdout: "b''\n", request: sandbox.Request{Code: "import sys\nprint(sys.stdin.buffer.read())"}},
		{name: "arguments", stdout: "['', 'a b', '-x', 'ünï', '$HOME', '\\n']\n", request: sandbox.Request{
			Code: "import sys\nprint(sys.argv[1:])", Args: []string{"", "a b", "-x", "ünï", "$HOME", "\n"}}},
		{name: "environment", stdout: "a=b 1\n", request: sandbox.Request{
			Code: "import os\nprint(os.environ['GREETING'], os.environ['PYTHONUNBUFFERED'])", Env: map[string]string{"GREETING": "a=b"}}},
		{name: "utf-8", stdout: "häßlich 字 🎉\n", stderr: "naïve\n", request: sandbox.Request{
			Code: "import sys\nprint('häßlich 字 🎉')\nprint('naïve', file=sys.stderr)"}},
		{name: "bytes that are no text", stdout: "\x00\xff\xfe\xc3(", request: sandbox.Request{
			Code: `import os; os.write(1, b"\x00\xff\xfe\xc3(")`}},
		{name: "output opened by name", stdout: "out", stderr: "err", request: sandbox.Request{
			Code: "open('/dev/stdout', 'w').write('out')\nopen('/dev/stderr', 'w').write('err')"}},
	}
}

// fileCases are about the program's files.
func fileCases() []contentCase {
	deep := strings.Repeat("d/", 60)
	many := []sandbox.File{{Path: "main.py", Content: []byte("import os\nprint(len(os.listdir('many')))")}}
	for _, letter := range "abcdefghij" {
		for _, digit := range "0123456789" {
			many = append(many, sandbox.File{Path: "many/" + string(letter) + string(digit)})
		}
	}
	return []contentCase{
		{name: "several files", stdout: "imported 3\n", request: sandbox.Request{Files: []sandbox.File{
			{Path: "main.py", Content: []byte("import pkg.mod\nprint(pkg.mod.name, len(open('data.bin', 'rb').read()))")},
			{Path: "pkg/mod.py", Content: []byte("name = 'imported'")},
			{Path: "data.bin", Content: []byte{0, 255, 10}}}}},
		{name: "entrypoint of choice", stdout: "second\n", request: sandbox.Request{Entrypoint: "other/second.py", Files: []sandbox.File{
			{Path: "main.py", Content: []byte("print('first')")}, {Path: "other/second.py", Content: []byte("print('second')")}}}},
		{name: "code under a name of choice", stdout: "/work/a/ü.py\n", request: sandbox.Request{Entrypoint: "a/ü.py",
			Code: "import os\nprint(os.path.abspath(__file__))"}},
		{name: "unicode and blank file names", stdout: "字\n x\n", request: sandbox.Request{Files: []sandbox.File{
			{Path: "main.py", Content: []byte("print(open('文件/日本.txt').read())\nprint(open(' \\n').read())")},
			{Path: "文件/日本.txt", Content: []byte("字")}, {Path: " \n", Content: []byte(" x")}}}},
		{name: "deep directories", stdout: "deep\n", request: sandbox.Request{Files: []sandbox.File{
			{Path: "main.py", Content: []byte("print(open('" + deep + "f').read())")}, {Path: deep + "f", Content: []byte("deep")}}}},
		{name: "a hundred files", stdout: "100\n", request: sandbox.Request{Files: many}},
		{name: "modes", stdout: "755\n644\n400\n", request: sandbox.Request{Files: []sandbox.File{
			{Path: "main.py", Content: []byte("import os\nfor f in 'xyz': print(oct(os.stat(f).st_mode & 0o777)[2:])")},
			{Path: "x", Mode: 0o755}, {Path: "y"}, {Path: "z", Mode: 0o400}}}},
		{name: "several sources", stdout: "42\n", request: sandbox.Request{Language: "c", Files: []sandbox.File{
			{Path: "main.c", Content: []byte("#include <stdio.h>\n#include \"lib/answer.h\"\nint main(void){printf(\"%d\\n\", answer());}")},
			{Path: "lib/answer.h", Content: []byte("int answer(void);")},
			{Path: "lib/answer.c", Content: []byte("int answer(void){return 42;}")}}}},
		{name: "its files are its own", stdout: "main.py True\n", request: sandbox.Request{
			Code: "import os\nst = os.stat('main.py')\nopen('main.py', 'a').close()\nprint(*os.listdir(), st.st_uid == os.getuid())"}},
	}
}

// outputCases ask for files back.
func outputCases() []contentCase {
	return []contentCase{
		{name: "outputs, missing ones left out", request: sandbox.Request{
			Code: "import os\nos.makedirs('d/e')\nopen('d/e/ü', 'wb').write(b'\\x00\\xff')\nopen('empty', 'w')\n" +
				"open('tool', 'w').write('#!')\nos.chmod('tool', 0o750)",
			Outputs: []string{"d/e/ü", "absent", "empty", "tool"}},
			outputs: []sandbox.File{{Path: "d/e/ü", Content: []byte{0, 255}, Mode: 0o644}, {Path: "empty", Mode: 0o644},
				{Path: "tool", Content: []byte("#!"), Mode: 0o750}}},
		{name: "outputs that are no regular files of the work directory", request: sandbox.Request{
			Code: "import os\nos.symlink('/etc/passwd', 'link')\nos.symlink('/etc', 'dir')\nos.mkfifo('fifo')\nos.mkdir('d')\n" +
				"os.symlink('/proc/1/root', 'root')\nopen('/tmp/x', 'w').write('x')\nopen('secret', 'w').write('x')\nos.chmod('secret', 0)",
			Outputs: []string{"link", "dir/passwd", "fifo", "d", "root/etc/passwd"}}},
	}
}

// TestContent compares what goes in with what comes out.
func TestContent(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	for _, c := range contentCases() {
		t.Run(c.name, func(t *testing.T) {
			if c.request.Language == "" {
				c.request.Language = "python"
			}
			x := execute(t, p, c.request)
			if x.Verdict != sandbox.VerdictOK || x.StdoutTruncated || x.StderrTruncated {
				t.Fatalf("verdict %v, want ok; stderr %s, compile %+v, limits hit %v", x.Verdict, x.Stderr, x.Compile, x.LimitsHit)
			}
			if string(x.Stdout) != c.stdout || string(x.Stderr) != c.stderr {
				t.Errorf("stdout %.200q, stderr %.200q, want %.200q, %.200q", x.Stdout, x.Stderr, c.stdout, c.stderr)
			}
			empty := cmp.Transformer("bytes", func(b []byte) string { return string(b) })
			if diff := cmp.Diff(c.outputs, x.Outputs, empty); diff != "" {
				t.Errorf("outputs differ (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCompileError holds the fields of a record whose program was never run.
func TestCompileError(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	x := execute(t, p, sandbox.Request{Language: "c", Code: "int main(void) { return missing; }", Outputs: []string{"a.out"}})
	if x.Verdict != sandbox.VerdictCompileError || x.ExitCode != -1 || x.Signal != "" || len(x.Stdout)+len(x.Stderr) > 0 ||
		x.Usage != (sandbox.Usage{}) || len(x.LimitsHit) > 0 || len(x.Outputs) > 0 {
		t.Errorf("run step = %+v, outputs %v, want nothing but the verdict", x.Step, x.Outputs)
	}
	c := x.Compile
	if c == nil || c.Verdict != sandbox.VerdictCompileError || c.ExitCode != 1 || c.Usage.Wall <= 0 || c.Usage.PeakMemory <= 0 {
		t.Fatalf("compile step = %+v, want a compile error, exit code 1 and what it used", c)
	}
	if !bytes.Contains(c.Stderr, []byte("main.c:1:25")) || bytes.Contains(c.Stderr, []byte(os.TempDir()+"/soulbox")) {
		t.Errorf("compiler says %q, want the place of the error in it, and no path of the host", c.Stderr)
	}
}
