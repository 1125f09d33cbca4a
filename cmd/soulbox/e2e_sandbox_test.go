package main_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// box is what tests read of a sandbox.
type box struct {
	ID         string            `json:"id"`
	RequestID  string            `json:"requestId"`
	State      string            `json:"state"`
	Reason     string            `json:"reason"`
	Labels     map[string]string `json:"labels"`
	Timeout    string            `json:"timeout"`
	DeadlineAt *time.Time        `json:"deadlineAt"`
	Limits     struct {
		MemoryBytes string `json:"memoryBytes"`
		Processes   int    `json:"processes"`
	} `json:"limits"`
}

// ended is what tests read of a program that Exec ran.
type ended struct {
	PID       uint32 `json:"pid"`
	Running   bool   `json:"running"`
	ExitCode  int    `json:"exitCode"`
	Signal    string `json:"signal"`
	Stdout    string `json:"stdout"`
	Stderr    string `json:"stderr"`
	Truncated bool   `json:"truncated"`
	TimedOut  bool   `json:"timedOut"`
}

// sandbox makes a sandbox and returns its path.
func (d *daemon) sandbox(t testing.TB, body object) string {
	t.Helper()
	a := d.do(t, http.MethodPost, "/v1/sandboxes", body)
	a.want(t, http.StatusOK)
	return "/v1/sandboxes/" + decode[box](t, a.Body).ID
}

// exec runs a program in a sandbox that must be answered with 200.
func (d *daemon) exec(t testing.TB, path string, body object) ended {
	t.Helper()
	a := d.do(t, http.MethodPost, path+":exec", body)
	a.want(t, http.StatusOK)
	return decode[ended](t, a.Body)
}

// refuses wants an error of a status, reason and field.
func (a *answer) refuses(t testing.TB, status int, reason, field string) {
	t.Helper()
	f := decode[failure](t, a.Body)
	if a.Status != status || f.Reason != reason || f.Field != field || f.Message == "" {
		t.Errorf("got %d %s of field %q, want %d %s of %q: %s", a.Status, f.Reason, f.Field, status, reason, field, a.Body)
	}
}

// TestSandboxOverHTTP goes through every route of sandboxes.
func TestSandboxOverHTTP(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	for name, run := range map[string]func(*testing.T, *daemon){
		"life": sandboxLife, "programs": sandboxPrograms, "files": sandboxFiles, "content": sandboxContent, "large": sandboxLarge,
		"refused": sandboxRefused, "listed": sandboxesListed, "streams": sandboxStreams,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, d)
		})
	}
}

func sandboxLife(t *testing.T, d *daemon) {
	made := d.do(t, http.MethodPost, "/v1/sandboxes", object{"requestId": "life", "labels": object{"a": "b"}, "timeout": "60s", "limits": object{"memoryBytes": 100 << 20}})
	made.want(t, http.StatusOK)
	s := decode[box](t, made.Body)
	path := "/v1/sandboxes/" + s.ID
	if s.State != "SANDBOX_STATE_RUNNING" || s.Labels["a"] != "b" || s.DeadlineAt == nil || s.Limits.MemoryBytes != "104857600" {
		t.Errorf("created: %s", made.Body)
	}
	if got := d.get(t, path); !bytes.Equal(got, made.Body) {
		t.Errorf("Get differs from Create:\n%s\n%s", got, made.Body)
	}
	again := d.do(t, http.MethodPost, "/v1/sandboxes", object{"requestId": "life", "labels": object{"a": "b"}, "timeout": "60s", "limits": object{"memoryBytes": 100 << 20}})
	if again.want(t, http.StatusOK); decode[box](t, again.Body).ID != s.ID {
		t.Errorf("the request again: %s", again.Body)
	}
	d.do(t, http.MethodPost, "/v1/sandboxes", object{"requestId": "life"}).refuses(t, http.StatusConflict, "REQUEST_ID_REUSED", "requestId")
	for _, step := range []struct {
		verb, state string
		body        object
	}{
		{":setTimeout", "RUNNING", object{"timeout": "3600s"}},
		{":setLimits", "RUNNING", object{"limits": object{"memoryBytes": "134217728"}}},
		{":pause", "PAUSED", object{}},
		{":resume", "RUNNING", object{}},
		{":pause", "PAUSED", nil},
		{":resume", "RUNNING", object{"timeout": "50s"}},
	} {
		var body any
		if step.body != nil {
			body = step.body
		}
		a := d.do(t, http.MethodPost, path+step.verb, body)
		if a.want(t, http.StatusOK); decode[box](t, a.Body).State != "SANDBOX_STATE_"+step.state {
			t.Errorf("%s: %s", step.verb, a.Body)
		}
		if step.verb == ":pause" {
			d.do(t, http.MethodPost, path+":exec", object{"shell": "true"}).refuses(t, http.StatusConflict, "SANDBOX_PAUSED", "id")
			d.do(t, http.MethodPost, path+":pause", object{}).refuses(t, http.StatusConflict, "SANDBOX_PAUSED", "id")
		}
	}
	if s := decode[box](t, d.get(t, path)); s.Timeout != "50s" || s.Limits.MemoryBytes != "134217728" {
		t.Errorf("after all changes: %+v", s)
	}
	d.do(t, http.MethodPost, path+":resume", object{}).refuses(t, http.StatusConflict, "SANDBOX_NOT_PAUSED", "id")
	stats := decode[struct{ MemoryBytes, MemoryLimitBytes, ProcessLimit string }](t, d.get(t, path+"/stats"))
	if stats.MemoryLimitBytes != "134217728" || stats.ProcessLimit != "512" {
		t.Errorf("stats: %+v", stats)
	}
	logs := d.get(t, path+"/logs?limit=2")
	if n := len(decode[struct{ Entries []object }](t, logs).Entries); n != 2 {
		t.Errorf("%d entries in %s, want the newest two", n, logs)
	}
	a := d.do(t, http.MethodDelete, path, nil)
	if a.want(t, http.StatusOK); decode[box](t, a.Body).State != "SANDBOX_STATE_STOPPED" {
		t.Errorf("deleted: %s", a.Body)
	}
	if twice := d.do(t, http.MethodDelete, path, nil); !bytes.Equal(twice.Body, a.Body) || !bytes.Equal(d.get(t, path), a.Body) {
		t.Errorf("deleted twice: %s, want %s", twice.Body, a.Body)
	}
	d.do(t, http.MethodPost, path+":exec", object{"shell": "true"}).refuses(t, http.StatusConflict, "SANDBOX_ENDED", "id")
}

func sandboxPrograms(t *testing.T, d *daemon) {
	path := d.sandbox(t, object{"env": object{"A": "sandbox"}})
	if x := d.exec(t, path, object{"shell": "echo $A $B; id -un; pwd; echo err >&2; cat; exit 3", "env": object{"B": "program"}, "user": "root", "workdir": "/var",
		"stdin": base64.StdEncoding.EncodeToString([]byte("input"))}); x.Stdout != "sandbox program\nroot\n/var\ninput" || x.Stderr != "err\n" || x.ExitCode != 3 {
		t.Errorf("%+v", x)
	}
	if x := d.exec(t, path, object{"args": []string{"sleep", "100"}, "timeout": "0.3s"}); !x.TimedOut || x.ExitCode != -1 || x.Signal != "SIGKILL" {
		t.Errorf("a program beyond its time: %+v", x)
	}
	if x := d.exec(t, path, object{"args": []string{"yes"}, "outputBytes": 1000}); !x.Truncated || len(x.Stdout) != 1000 {
		t.Errorf("a program that prints too much: %d bytes, truncated %v", len(x.Stdout), x.Truncated)
	}
	if x := d.exec(t, path, object{"shell": "head -c 1000000 /dev/zero | tr '\\0' x"}); len(x.Stdout) != 1_000_000 || x.Truncated {
		t.Errorf("a million bytes at once: %d came, truncated %v", len(x.Stdout), x.Truncated)
	}
	detached := d.exec(t, path, object{"shell": "trap 'exit 5' TERM; while :; do sleep 0.05; done", "detach": true, "tag": "loop"})
	if !detached.Running || detached.PID == 0 {
		t.Fatalf("detached: %+v", detached)
	}
	process := func() (known struct {
		Tag    string
		Exited *struct{ ExitCode int }
	}) {
		t.Helper()
		for _, p := range decode[struct {
			Processes []struct {
				PID    uint32
				Tag    string
				Exited *struct{ ExitCode int }
			}
		}](t, d.get(t, path+"/processes")).Processes {
			if p.PID == detached.PID {
				known.Tag, known.Exited = p.Tag, p.Exited
			}
		}
		return known
	}
	if p := process(); p.Tag != "loop" || p.Exited != nil {
		t.Errorf("the detached program is listed as %+v", p)
	}
	at := fmt.Sprintf("%s/processes/%d:signal", path, detached.PID)
	d.do(t, http.MethodPost, at, object{"signal": "SIGNONSENSE"}).refuses(t, http.StatusBadRequest, "INVALID_ARGUMENT", "signal")
	d.do(t, http.MethodPost, path+"/processes/4000000:signal", object{"signal": "9"}).refuses(t, http.StatusNotFound, "NOT_FOUND", "")
	d.do(t, http.MethodPost, at, object{"signal": "term"}).want(t, http.StatusOK)
	d.eventually("the program took the signal", answerWait, func() bool { p := process(); return p.Exited != nil && p.Exited.ExitCode == 5 })

	// A client that goes away takes its program with it.
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := d.try(ctx, http.MethodPost, path+":exec", object{"shell": "touch /tmp/started; exec sleep 54321"})
		gone <- err
	}()
	d.eventually("the program runs", answerWait, func() bool { return d.exec(t, path, object{"shell": "test -e /tmp/started"}).ExitCode == 0 })
	leave()
	if err := <-gone; err == nil {
		t.Error("a client that left was answered")
	}
	d.eventually("the program of the client that left is gone", answerWait, func() bool {
		return d.exec(t, path, object{"shell": "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 5432[1]'"}).ExitCode == 1
	})
}

// inPath returns the path of a sandbox's files for a file's name.
func inPath(path, verb, name string, more ...string) string {
	q := url.Values{"path": {name}}
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return path + "/files" + verb + "?" + q.Encode()
}

func sandboxFiles(t *testing.T, d *daemon) {
	path := d.sandbox(t, object{})
	type entry struct {
		Path, Type, Owner, Size string
	}
	a := d.do(t, http.MethodPut, inPath(path, "", "dir/\u00fc &+%41.txt"), "0123456789", "Content-Type", "application/octet-stream")
	if a.want(t, http.StatusOK); decode[entry](t, a.Body) != (entry{"/home/user/dir/\u00fc &+%41.txt", "FILE_TYPE_FILE", "user", "10"}) {
		t.Errorf("written: %s", a.Body)
	}
	stat := d.get(t, inPath(path, ":stat", "dir/\u00fc &+%41.txt"))
	if !bytes.Equal(stat, a.Body) {
		t.Errorf("stat differs from what writing answered:\n%s\n%s", stat, a.Body)
	}
	d.do(t, http.MethodPost, path+"/files:makeDir", object{"path": "dir/below"}).want(t, http.StatusOK)
	d.do(t, http.MethodPost, path+"/files:makeDir", object{"path": "dir/below"}).refuses(t, http.StatusConflict, "ALREADY_EXISTS", "")
	list := decode[struct{ Entries []entry }](t, d.get(t, inPath(path, ":list", "dir", "depth", "2")))
	if len(list.Entries) != 2 {
		t.Errorf("listed: %+v", list)
	}
	d.do(t, http.MethodPost, path+"/files:move", object{"source": "dir/below", "destination": "/tmp/moved"}).want(t, http.StatusOK)
	d.get(t, inPath(path, ":stat", "/tmp/moved"))
	for range 2 {
		d.do(t, http.MethodPost, path+"/files:remove", object{"path": "/tmp/moved"}).want(t, http.StatusOK)
	}
	d.do(t, http.MethodGet, inPath(path, ":stat", "/tmp/moved"), nil).refuses(t, http.StatusNotFound, "NOT_FOUND", "")
	d.do(t, http.MethodPut, inPath(path, "", "/etc/new"), "x").refuses(t, http.StatusForbidden, "PERMISSION_DENIED", "")
	d.do(t, http.MethodGet, inPath(path, "", "/etc/shadow"), nil).refuses(t, http.StatusForbidden, "PERMISSION_DENIED", "")
	d.do(t, http.MethodPut, inPath(path, "", "/etc/new", "user", "root"), "x").want(t, http.StatusOK)
	d.do(t, http.MethodPut, inPath(path, "", "f", "user", "stranger"), "x").refuses(t, http.StatusBadRequest, "UNKNOWN_USER", "user")
	d.do(t, http.MethodGet, inPath(path, "", "dir"), nil).refuses(t, http.StatusBadRequest, "INVALID_ARGUMENT", "path")
	if got := d.get(t, inPath(path, "", "/proc/version")); len(got) == 0 {
		t.Error("a file of /proc, which says it has no size, was read as empty")
	}
}

// sandboxContent reads a file in the ways that HTTP knows.
func sandboxContent(t *testing.T, d *daemon) {
	path := d.sandbox(t, object{})
	d.do(t, http.MethodPut, inPath(path, "", "f"), "0123456789").want(t, http.StatusOK)
	file := inPath(path, "", "f")
	whole := d.do(t, http.MethodGet, file, nil)
	modified := whole.Header.Get("Last-Modified")
	for _, tt := range []struct {
		name, method, path string
		header             []string
		status             int
		body               string
	}{
		{"whole", http.MethodGet, file, nil, 200, "0123456789"},
		{"head", http.MethodHead, file, nil, 200, ""},
		{"range", http.MethodGet, file, []string{"Range", "bytes=2-4"}, 206, "234"},
		{"open range", http.MethodGet, file, []string{"Range", "bytes=7-"}, 206, "789"},
		{"suffix", http.MethodGet, file, []string{"Range", "bytes=-2"}, 206, "89"},
		{"beyond", http.MethodGet, file, []string{"Range", "bytes=10-"}, 416, "invalid range: failed to overlap\n"},
		{"no range", http.MethodGet, file, []string{"Range", "lines=1-2"}, 416, "invalid range\n"},
		{"not modified", http.MethodGet, file, []string{"If-Modified-Since", modified}, 304, ""},
		{"offset and limit", http.MethodGet, inPath(path, "", "f", "offset", "3", "limit", "4"), nil, 200, "3456"},
		{"offset beyond", http.MethodGet, inPath(path, "", "f", "offset", "100"), nil, 200, ""},
	} {
		a := d.do(t, tt.method, tt.path, nil, tt.header...)
		if a.Status != tt.status || string(a.Body) != tt.body {
			t.Errorf("%s: %d %q, want %d %q", tt.name, a.Status, a.Body, tt.status, tt.body)
		}
		if tt.name == "head" && a.Header.Get("Content-Length") != "10" {
			t.Errorf("head: %v", a.Header)
		}
	}
	if whole.Header.Get("Content-Type") != "application/octet-stream" || whole.Header.Get("Soulbox-File-Mode") != "0644" || modified == "" {
		t.Errorf("headers: %v", whole.Header)
	}
	multi := d.do(t, http.MethodGet, file, nil, "Range", "bytes=0-1,8-9")
	if multi.Status != 206 || !strings.Contains(string(multi.Body), "01") || !strings.Contains(string(multi.Body), "89") {
		t.Errorf("two ranges: %d %q", multi.Status, multi.Body)
	}
}

// counting reads n bytes of a pattern, and then what comes of it.
type counting struct {
	n   int64
	end error
}

func (c *counting) Read(p []byte) (int, error) {
	if c.n == 0 {
		return 0, c.end
	}
	n := min(int64(len(p)), c.n)
	for i := range p[:n] {
		p[i] = byte(c.n - int64(i))
	}
	c.n -= n
	return int(n), nil
}

// sandboxLarge writes a file that is larger than any message, and breaks off another.
func sandboxLarge(t *testing.T, d *daemon) {
	path := d.sandbox(t, object{})
	const size = 40 << 20
	d.do(t, http.MethodPut, inPath(path, "", "large"), io.Reader(&counting{size, io.EOF})).want(t, http.StatusOK)
	want, err := io.ReadAll(&counting{size, io.EOF})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.get(t, inPath(path, "", "large")); !bytes.Equal(got, want) {
		t.Errorf("read %d bytes, others than the %d that were written", len(got), len(want))
	}
	if a, err := d.try(t.Context(), http.MethodPut, inPath(path, "", "large"), io.Reader(&counting{30 << 20, io.ErrClosedPipe})); err == nil {
		t.Errorf("an upload that broke off was answered with %d", a.Status)
	}
	if _, err := d.try(t.Context(), http.MethodPut, inPath(path, "", "new"), io.Reader(&counting{30 << 20, io.ErrClosedPipe})); err == nil {
		t.Error("an upload that broke off was answered")
	}
	d.eventually("nothing is left of uploads that broke off", answerWait, func() bool {
		return d.exec(t, path, object{"shell": "find / -xdev -user user -type f -size +1M ! -name large 2>/dev/null | grep -c .; stat -c %s large", "user": "root", "workdir": "/home/user"}).Stdout == fmt.Sprintf("0\n%d\n", size)
	})
	d.do(t, http.MethodGet, inPath(path, ":stat", "new"), nil).refuses(t, http.StatusNotFound, "NOT_FOUND", "")
}

func sandboxRefused(t *testing.T, d *daemon) {
	path := d.sandbox(t, object{})
	none := "/v1/sandboxes/i00000000000000000000"
	for _, tt := range []struct {
		method, path  string
		body          any
		status        int
		reason, field string
	}{
		{"GET", none, nil, 404, "SANDBOX_NOT_FOUND", "id"},
		{"DELETE", none, nil, 404, "SANDBOX_NOT_FOUND", "id"},
		{"POST", none + ":exec", object{"shell": "x"}, 404, "SANDBOX_NOT_FOUND", "id"},
		{"GET", none + "/files?path=x", nil, 404, "SANDBOX_NOT_FOUND", "id"},
		{"PUT", none + "/files?path=x", "x", 404, "SANDBOX_NOT_FOUND", "id"},
		{"GET", none + "/files:watch?path=x", nil, 404, "SANDBOX_NOT_FOUND", "id"},
		{"GET", none + "/stats:stream", nil, 404, "SANDBOX_NOT_FOUND", "id"},
		{"GET", none + "/logs", nil, 404, "SANDBOX_NOT_FOUND", "id"},
		{"POST", "/v1/sandboxes", object{"image": "windows"}, 400, "UNKNOWN_IMAGE", "image"},
		{"POST", "/v1/sandboxes", object{"bogus": 1}, 400, "INVALID_ARGUMENT", "bogus"},
		{"POST", "/v1/sandboxes", object{"timeout": "-1s"}, 400, "INVALID_ARGUMENT", "timeout"},
		{"POST", "/v1/sandboxes", object{"limits": object{"memoryBytes": 1}}, 400, "INVALID_ARGUMENT", "limits.memoryBytes"},
		{"POST", "/v1/sandboxes", object{"workdir": "x"}, 400, "BAD_PATH", "workdir"},
		{"POST", path + ":setTimeout", object{}, 400, "INVALID_ARGUMENT", "timeout"},
		{"POST", path + ":setLimits", object{"limits": object{"openFiles": 5}}, 400, "LIMIT_FIXED", "limits.openFiles"},
		{"POST", path + ":exec", object{}, 400, "INVALID_ARGUMENT", "args"},
		{"POST", path + ":exec", object{"args": []string{"a"}, "shell": "b"}, 400, "INVALID_ARGUMENT", "shell"},
		{"POST", path + ":exec", object{"args": []string{"no-such-program"}}, 400, "INVALID_ARGUMENT", ""},
		{"POST", path + ":exec", object{"shell": "x", "user": "stranger"}, 400, "UNKNOWN_USER", "user"},
		{"GET", path + "/files", nil, 400, "INVALID_ARGUMENT", "path"},
		{"GET", path + "/files?path=absent", nil, 404, "NOT_FOUND", ""},
		{"GET", path + "/files?path=x&bogus=1", nil, 400, "INVALID_ARGUMENT", "bogus"},
		{"GET", path + "/files?path=x&path=y", nil, 400, "INVALID_ARGUMENT", "path"},
		{"GET", path + "/files?path=x&offset=-1", nil, 400, "INVALID_ARGUMENT", "offset"},
		{"GET", path + "/files?path=x&offset=abc", nil, 400, "INVALID_ARGUMENT", "offset"},
		{"PUT", path + "/files?path=x&metadata=1", "x", 400, "INVALID_ARGUMENT", "metadata"},
		{"PUT", path + "/files?path=x&id=" + "i00000000000000000000", "x", 400, "INVALID_ARGUMENT", "id"},
		{"GET", path + "/files:list?path=absent", nil, 404, "NOT_FOUND", ""},
		{"GET", path + "/files:watch?path=absent", nil, 404, "NOT_FOUND", ""},
		{"GET", path + "/files:watch?path=.&recursive=maybe", nil, 400, "INVALID_ARGUMENT", "recursive"},
		{"GET", path + "/stats:stream?interval=1", nil, 400, "INVALID_ARGUMENT", "interval"},
		{"GET", path + "/logs?limit=1001", nil, 400, "INVALID_ARGUMENT", "limit"},
		{"POST", path + "/files", "x", 405, "METHOD_NOT_ALLOWED", ""},
		{"DELETE", path + "/files", nil, 405, "METHOD_NOT_ALLOWED", ""},
		{"PUT", "/v1/sandboxes", object{}, 405, "METHOD_NOT_ALLOWED", ""},
		{"GET", path + ":pause", nil, 405, "METHOD_NOT_ALLOWED", ""},
		{"GET", path + ":nonsense", nil, 404, "SANDBOX_NOT_FOUND", "id"},
		{"GET", path + "/nonsense", nil, 404, "NO_SUCH_ROUTE", ""},
		{"GET", path + "/", nil, 404, "NO_SUCH_ROUTE", ""},
	} {
		t.Run(tt.method+" "+strings.TrimPrefix(tt.path, "/v1/sandboxes/"), func(t *testing.T) {
			a := d.do(t, tt.method, tt.path, tt.body)
			a.refuses(t, tt.status, tt.reason, tt.field)
			if allow := a.Header.Get("Allow"); (a.Status == http.StatusMethodNotAllowed) != (allow != "") {
				t.Errorf("Allow: %q", allow)
			}
			if a.Header.Get("X-Content-Type-Options") == "" && a.Status == http.StatusOK {
				t.Error("an answer without nosniff")
			}
		})
	}
	if a := d.do(t, http.MethodGet, path, nil, "X-API-Key", ""); a.Status != http.StatusUnauthorized {
		t.Errorf("without a key: %d", a.Status)
	}
	if a := d.do(t, http.MethodPut, path+"/files?path=x", "x", "X-API-Key", "another"); a.Status != http.StatusUnauthorized {
		t.Errorf("an upload with a wrong key: %d", a.Status)
	}
}

func sandboxesListed(t *testing.T, d *daemon) {
	for i := range 3 {
		path := d.sandbox(t, object{"labels": object{"list": "yes", "n": fmt.Sprint(i)}})
		if i == 0 {
			d.do(t, http.MethodDelete, path, nil).want(t, http.StatusOK)
		}
	}
	for query, want := range map[string]int{
		"labels=list%3Dyes": 3, "labels=list%3Dyes,n%3D2": 1, "labels=list%3Dno": 0, "labels=list%3Dyes&alive=true": 2,
		"labels=list%3Dyes&state=SANDBOX_STATE_STOPPED": 1, "labels=list%3Dyes&image=host": 3, "labels=list%3Dyes&image=debian": 0,
	} {
		for _, size := range []string{"0", "1", "2"} {
			got := 0
			for token := ""; ; {
				page := decode[struct {
					Sandboxes     []box
					NextPageToken string
				}](t, d.get(t, "/v1/sandboxes?"+query+"&pageSize="+size+"&pageToken="+url.QueryEscape(token)))
				got += len(page.Sandboxes)
				if token = page.NextPageToken; token == "" {
					break
				}
			}
			if got != want {
				t.Errorf("%s in pages of %s: %d, want %d", query, size, got, want)
			}
		}
	}
	d.do(t, http.MethodGet, "/v1/sandboxes?labels=x", nil).refuses(t, http.StatusBadRequest, "INVALID_ARGUMENT", "labels")
	d.do(t, http.MethodGet, "/v1/sandboxes?alive=true&state=SANDBOX_STATE_PAUSED", nil).refuses(t, http.StatusBadRequest, "INVALID_ARGUMENT", "alive")
	d.do(t, http.MethodGet, "/v1/sandboxes?pageToken=x", nil).refuses(t, http.StatusBadRequest, "INVALID_PAGE_TOKEN", "pageToken")
}

// sandboxStreams reads events as lines, as they happen, to the end of the sandbox.
func sandboxStreams(t *testing.T, d *daemon) {
	path := d.sandbox(t, object{})
	d.exec(t, path, object{"shell": "mkdir watched"})
	lines := func(at string, each func(line object) bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), answerWait)
		defer cancel()
		res := d.open(ctx, t, at)
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/x-ndjson" {
			t.Fatalf("%s: %d %s", at, res.StatusCode, res.Header.Get("Content-Type"))
		}
		for line := range linesOf(t, res.Body) {
			if !each(line) {
				return
			}
		}
	}
	seen := ""
	lines(inPath(path, ":watch", "watched"), func(line object) bool {
		if line["type"] == "FILE_EVENT_TYPE_STARTED" {
			d.exec(t, path, object{"shell": "echo x > watched/new"})
		}
		seen += fmt.Sprint(line["type"], " ", line["name"], "\n")
		return line["name"] != "new" || line["type"] != "FILE_EVENT_TYPE_WRITE"
	})
	if !strings.Contains(seen, "FILE_EVENT_TYPE_CREATE new") {
		t.Errorf("watched: %s", seen)
	}
	n := 0
	lines(path+"/stats:stream?interval=0.1s", func(line object) bool {
		if line["memoryLimitBytes"] == nil {
			t.Errorf("stats: %v", line)
		}
		if n++; n == 3 {
			d.do(t, http.MethodDelete, path, nil).want(t, http.StatusOK)
		}
		return true // it ends with the sandbox
	})
	if n < 3 {
		t.Errorf("%d lines of stats, want 3 or more", n)
	}
}
