package main_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestContract asks one daemon all that outside checks rely on.
func TestContract(t *testing.T) {
	d := startDaemon(t, "--max-memory", "512MiB")
	for _, part := range []struct {
		name string
		test func(*testing.T, *daemon)
	}{
		{"keys", testKeys}, {"result fields", testResultFields}, {"request fields", testRequestFields}, {"bad requests", testBadRequests},
		{"languages", testLanguages}, {"limits", testLimits}, {"output", testOutput}, {"compile", testCompile},
		{"records", testRecords}, {"stream", testStream}, {"cancel", testCancel}, {"wait", testWait}, {"request id", testRequestID},
		{"lost client", testLostClient}, {"body limit", testBodyLimit}, {"protocols", testProtocols}, {"info", testInfo},
	} {
		t.Run(part.name, func(t *testing.T) { t.Parallel(); part.test(t, d) })
	}
}

func testKeys(t *testing.T, d *daemon) {
	for _, c := range []struct {
		name, path string
		header     []string
		want       int
	}{
		{"X-API-Key", "/v1/executions", nil, http.StatusOK},
		{"bearer", "/v1/executions", []string{"X-API-Key", "", "Authorization", "Bearer " + testKey}, http.StatusOK},
		{"none", "/v1/executions", []string{"X-API-Key", ""}, http.StatusUnauthorized},
		{"wrong", "/v1/executions", []string{"X-API-Key", "another"}, http.StatusUnauthorized},
		{"basic", "/v1/executions", []string{"X-API-Key", "", "Authorization", "Basic " + testKey}, http.StatusUnauthorized},
		{"401 before 404", "/no/such/path", []string{"X-API-Key", ""}, http.StatusUnauthorized},
		{"404", "/no/such/path", nil, http.StatusNotFound},
		{"no such execution", "/v1/executions/i00000000000000000000", nil, http.StatusNotFound},
		{"healthz", "/healthz", []string{"X-API-Key", ""}, http.StatusOK},
		{"readyz", "/readyz", []string{"X-API-Key", ""}, http.StatusOK},
	} {
		if a := d.do(t, http.MethodGet, c.path, nil, c.header...); a.Status != c.want {
			t.Errorf("%s: GET %s: got %d, want %d: %s", c.name, c.path, a.Status, c.want, a.Body)
		}
	}
}

// testResultFields compares a whole answer, zero values and types included, but for what no two runs share.
func testResultFields(t *testing.T, d *daemon) {
	a := d.do(t, http.MethodPost, "/v1/executions", object{"language": "python", "code": "print(1)"})
	a.want(t, http.StatusOK)
	got := decode[map[string]any](t, a.Body)
	unenforced := got["unenforced"]
	want := object{
		"requestId": "", "language": "python", "image": "host", "imageDigest": "", "runtime": "runc", "state": "STATE_DONE", "verdict": "VERDICT_OK", "limitsHit": []any{},
		"stdout": "1\n", "stderr": "", "stdoutRaw": "", "stderrRaw": "", "stdoutInvalidUtf8": false, "stdoutTruncated": false,
		"stderrInvalidUtf8": false, "stderrTruncated": false, "exitCode": 0.0, "signal": "", "compile": nil, "clamped": []any{},
		"unenforced": unenforced, "outputs": []any{}, "outputsExpired": false, "detail": "",
	}
	if _, ok := unenforced.([]any); !ok {
		t.Errorf("unenforced is %v, want a list", unenforced)
	}
	usage, _ := got["usage"].(map[string]any)
	for _, name := range []string{"wallTime", "userTime", "systemTime"} {
		if s, _ := usage[name].(string); !strings.HasSuffix(s, "s") {
			t.Errorf("usage.%s is %v, want a duration such as \"0.1s\"", name, usage[name])
		}
	}
	if s, _ := usage["peakMemoryBytes"].(string); s == "" || s == "0" {
		t.Errorf("usage.peakMemoryBytes is %v, want a number in a string", usage["peakMemoryBytes"])
	}
	if s, _ := got["id"].(string); len(s) != 21 || s[0] != 'i' {
		t.Errorf("id is %v, want i and 20 characters", got["id"])
	}
	for _, name := range []string{"createdAt", "startedAt", "endedAt"} {
		if s, _ := got[name].(string); !strings.HasPrefix(s, "20") || !strings.HasSuffix(s, "Z") {
			t.Errorf("%s is %v, want a time", name, got[name])
		}
	}
	for _, name := range []string{"id", "usage", "createdAt", "startedAt", "endedAt", "limits"} {
		delete(got, name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

func testRequestFields(t *testing.T, d *daemon) {
	const code = `import os, sys
print(sys.argv[1:], os.environ["NAME"], os.environ["TZ"], sys.stdin.buffer.read(), os.path.basename(sys.argv[0]), os.getcwd() == os.environ["HOME"])
print(open("data.txt").read(), oct(os.stat("data.txt").st_mode & 0o777), file=sys.stderr)
open("out.bin", "wb").write(bytes(range(4)))
os.makedirs("sub"); open("sub/x", "w").write("x"); os.chmod("sub/x", 0o640)
`
	body := object{
		"language": "py", "files": []object{
			{"path": "prog.py", "content": []byte(code)},
			{"path": "data.txt", "content": []byte("data"), "mode": 0o600},
		},
		"entrypoint": "prog.py", "stdinRaw": []byte{0xff, 'a'}, "args": []string{"a b", "", "-x"}, "env": object{"NAME": "välue"},
		"limits":  object{"wallTime": "20s", "cpuTime": "5s", "memoryBytes": "67108864", "processes": 32, "openFiles": 64, "fileBytes": "1048576", "diskBytes": 1 << 20, "inodes": "100", "outputBytes": "4096"},
		"runtime": "runc", "outputs": []string{"out.bin", "sub/x", "missing"}, "wait": true,
	}
	x := d.execute(t, body)
	if want := "['a b', '', '-x'] välue UTC b'\\xffa' prog.py True\n"; x.Stdout != want || x.Stderr != "data 0o600\n" || x.Verdict != "VERDICT_OK" {
		t.Errorf("got %s, stdout %q, stderr %q, want stdout %q", x.Verdict, x.Stdout, x.Stderr, want)
	}
	var outputs []string
	for _, f := range x.Outputs {
		outputs = append(outputs, f.Path+"="+string(f.Content))
	}
	if diff := cmp.Diff([]string{"out.bin=\x00\x01\x02\x03", "sub/x=x"}, outputs); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
	if x.Language != "python" {
		t.Errorf("language is %q, want the recipe's name", x.Language)
	}
	if x := d.execute(t, object{"language": "python", "code": "print(input())", "stdin": "hé\n"}); x.Stdout != "hé\n" {
		t.Errorf("stdin as text: got %q", x.Stdout)
	}
	java := d.execute(t, object{"language": "java", "code": "public class Named { public static void main(String[] a) { System.out.println(\"named\"); } }"})
	if java.Stdout != "named\n" {
		t.Errorf("Java's public class names its file: got %s %q %q %+v", java.Verdict, java.Stdout, java.Stderr, java.Compile)
	}
}

func testBadRequests(t *testing.T, d *daemon) {
	for _, c := range []struct {
		name, field string
		body        any
	}{
		{"unknown field", "colour", object{"language": "python", "code": "", "colour": "red"}},
		{"unknown limit", "limits.speed", object{"language": "python", "code": "", "limits": object{"speed": 1}}},
		{"code and files", "code", object{"language": "python", "code": "1", "files": []object{{"path": "main.py", "content": ""}}}},
		{"stdin twice", "stdin", object{"language": "python", "code": "1", "stdin": "a", "stdinRaw": "YQ=="}},
		{"unknown language", "language", object{"language": "cobol", "code": "1"}},
		{"no language", "language", object{"code": "1"}},
		{"unknown runtime", "runtime", object{"language": "python", "code": "1", "runtime": "kvm"}},
		{"memory below 4 MiB", "limits.memoryBytes", object{"language": "python", "code": "1", "limits": object{"memoryBytes": "4194303"}}},
		{"negative time", "limits.wallTime", object{"language": "python", "code": "1", "limits": object{"wallTime": "-1s"}}},
		{"path out of the work directory", "files[0].path", object{"language": "python", "files": []object{{"path": "../x", "content": ""}}}},
		{"absolute path", "files[0].path", object{"language": "python", "files": []object{{"path": "/etc/passwd", "content": ""}}}},
		{"output out of the work directory", "outputs[0]", object{"language": "python", "code": "1", "outputs": []string{"../../etc/passwd"}}},
		{"mode", "files[0].mode", object{"language": "python", "files": []object{{"path": "x", "content": "", "mode": 0o4755}}}},
		{"not JSON", "", "{"},
		{"a list", "", "[]"},
		{"two objects", "", `{"language":"python"}{}`},
		{"wrong type", "args", `{"language":"python","args":"x"}`},
	} {
		a := d.do(t, http.MethodPost, "/v1/executions", c.body)
		f := decode[failure](t, a.Body)
		if a.Status != http.StatusBadRequest || f.Code != "invalid_argument" || f.Message == "" || (c.field != "" && f.Field != c.field) {
			t.Errorf("%s: got %d %s, want 400 with field %q", c.name, a.Status, a.Body, c.field)
		}
	}
	if a := d.do(t, http.MethodDelete, "/v1/executions", nil); a.Status < 400 || a.Header.Get("Allow") == "" {
		t.Errorf("DELETE: got %d, Allow %q", a.Status, a.Header.Get("Allow"))
	}
}

// hello is the smallest program of each language.
func hello() map[string]string {
	return map[string]string{
		"python":     "print('hello')",
		"javascript": "console.log('hello')",
		"typescript": "const s: string = 'hello'; console.log(s)",
		"go":         "package main\nimport \"os\"\nfunc main() { os.Stdout.WriteString(\"hello\\n\") }\n",
		"java":       "class Main { public static void main(String[] a) { System.out.println(\"hello\"); } }",
		"c":          "#include <stdio.h>\nint main(void) { puts(\"hello\"); }",
		"cpp":        "#include <iostream>\nint main() { std::cout << \"hello\\n\"; }",
		"rust":       "fn main() { println!(\"hello\"); }",
		"ruby":       "puts 'hello'",
		"php":        "<?php echo \"hello\\n\";",
	}
}

func testLanguages(t *testing.T, d *daemon) {
	listed := decode[struct {
		Languages []struct {
			Name      string
			Available bool
			Version   string
		}
	}](t, d.get(t, "/v1/languages"))
	var names []string
	for _, l := range listed.Languages {
		names = append(names, l.Name)
		if !l.Available || l.Version == "" {
			t.Errorf("%s is not available here: %+v", l.Name, l)
		}
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"c", "cpp", "go", "java", "javascript", "php", "python", "ruby", "rust", "typescript"}, names); diff != "" {
		t.Errorf("languages (-want +got):\n%s", diff)
	}
	for language, code := range hello() {
		x := d.execute(t, object{"language": language, "code": code})
		if x.Verdict != "VERDICT_OK" || x.Stdout != "hello\n" || x.ExitCode != 0 {
			t.Errorf("%s: got %s, exit %d, stdout %q, stderr %q, compile %+v", language, x.Verdict, x.ExitCode, x.Stdout, x.Stderr, x.Compile)
		}
	}
}

func testRecords(t *testing.T, d *daemon) {
	first := d.do(t, http.MethodPost, "/v1/executions", object{"language": "php", "code": "<?php echo \"\\xff<>&\u2028\";"})
	first.want(t, http.StatusOK)
	id := decode[result](t, first.Body).ID
	if again := d.get(t, "/v1/executions/"+id); !bytes.Equal(again, first.Body) {
		t.Errorf("GET differs from the answer:\n%s\n%s", first.Body, again)
	}
	for range 4 {
		d.execute(t, object{"language": "php", "code": "<?php"})
	}
	var ids []string
	token := ""
	for page := 0; page == 0 || token != ""; page++ {
		p := decode[struct {
			Executions    []result
			NextPageToken string
		}](t, d.get(t, "/v1/executions?pageSize=2&language=php&state=STATE_DONE&pageToken="+token))
		if len(p.Executions) > 2 || page > 100 {
			t.Fatalf("page %d has %d executions, want 2 at most", page, len(p.Executions))
		}
		for _, x := range p.Executions {
			if x.Language != "php" || x.State != "STATE_DONE" {
				t.Errorf("listed %s %s, want php and STATE_DONE", x.Language, x.State)
			}
			ids = append(ids, x.ID)
		}
		token = p.NextPageToken
	}
	unique := slices.Compact(slices.Sorted(slices.Values(ids)))
	if len(ids) < 5 || len(unique) != len(ids) || !slices.Contains(ids, id) {
		t.Errorf("pages list %q, want 5 or more executions, each once, %s with them", ids, id)
	}
	for _, query := range []string{"pageToken=nonsense", "pageSize=-1", "pageSize=1001", "state=STATE_ODD", "colour=red"} {
		if a := d.do(t, http.MethodGet, "/v1/executions?"+query, nil); a.Status != http.StatusBadRequest {
			t.Errorf("list with %s: got %d, want 400: %s", query, a.Status, a.Body)
		}
	}
	raw := decode[struct{ Executions []json.RawMessage }](t, d.get(t, "/v1/executions?language=php&pageSize=1000"))
	if !slices.ContainsFunc(raw.Executions, func(m json.RawMessage) bool { return bytes.Equal(m, first.Body) }) {
		t.Error("the listing does not hold the answer byte for byte")
	}
}

func testInfo(t *testing.T, d *daemon) {
	info := decode[struct {
		Version  string
		Runtimes []struct{ Name string }
		Warnings []struct{ Name, Text string }
		Policy   struct{ MemoryBytes string }
		MaxQueue int
	}](t, d.get(t, "/v1/system/info"))
	if info.Version == "" || len(info.Runtimes) != 2 || info.Runtimes[0].Name != "runc" || info.Runtimes[1].Name != "runsc" || info.Policy.MemoryBytes != "536870912" || info.MaxQueue != 1000 {
		t.Errorf("got %+v", info)
	}
	for _, w := range info.Warnings {
		if !strings.Contains(d.log.String(), "warning="+w.Name) {
			t.Errorf("warning %s is served but was not logged at start", w.Name)
		}
	}
}
