package fsys_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/sandbox/agent/fsys"
)

// answer is what an HTTP request got.
type answer struct {
	status int
	header http.Header
	body   string
}

// do makes a request without the client's own compression.
func (tr *tree) do(method, target string, header http.Header, body io.Reader) answer {
	tr.t.Helper()
	req, err := http.NewRequestWithContext(tr.t.Context(), method, tr.url+target, body)
	tr.must(err)
	for k, v := range header {
		req.Header[k] = v
	}
	if header.Get("Accept-Encoding") == "" {
		req.Header.Set("Accept-Encoding", "identity")
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	tr.must(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	tr.must(err)
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func files(query ...string) string {
	v := url.Values{}
	for i := 0; i < len(query); i += 2 {
		v.Set(query[i], query[i+1])
	}
	return "/files?" + v.Encode()
}

func head(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func gunzip(t *testing.T, s string) string {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func gzipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.String()
}

func TestDownload(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	tr.write("home/user/f.txt", "0123456789", userID, 0o644)
	tr.write("home/user/empty", "", userID, 0o644)
	tr.write("home/user/ünï \"x\".bin", "\x00\x01", userID, 0o644)
	tr.link("f.txt", "home/user/link")
	modified := tr.do("GET", files("path", "f.txt"), nil, nil).header.Get("Last-Modified")
	for _, tc := range []struct {
		name   string
		method string
		target string
		header http.Header
		status int
		body   string            // decoded; of an error, a part
		want   map[string]string // headers
	}{
		{name: "whole", target: files("path", "f.txt"), status: 200, body: "0123456789", want: map[string]string{
			"Content-Length": "10", "Content-Disposition": "inline; filename=f.txt", "Vary": "Accept-Encoding", "Content-Encoding": "",
			"Content-Type": "text/plain; charset=utf-8"}},
		{name: "head", method: "HEAD", target: files("path", "f.txt"), status: 200, want: map[string]string{"Content-Length": "10"}},
		{name: "link", target: files("path", "/home/user/link"), status: 200, body: "0123456789"},
		{name: "range", target: files("path", "f.txt"), header: head("Range", "bytes=2-4", "Accept-Encoding", "gzip"), status: 206, body: "234",
			want: map[string]string{"Content-Range": "bytes 2-4/10"}},
		{name: "range past the end", target: files("path", "f.txt"), header: head("Range", "bytes=20-"), status: 416},
		{name: "not modified", target: files("path", "f.txt"), header: head("If-Modified-Since", modified), status: 304},
		{name: "gzip", target: files("path", "f.txt"), header: head("Accept-Encoding", "gzip, deflate"), status: 200, body: "0123456789",
			want: map[string]string{"Content-Encoding": "gzip", "Content-Type": "text/plain; charset=utf-8"}},
		{name: "gzip head", method: "HEAD", target: files("path", "f.txt"), header: head("Accept-Encoding", "gzip"), status: 200,
			want: map[string]string{"Content-Encoding": "gzip"}},
		{name: "empty", target: files("path", "empty"), status: 200, want: map[string]string{"Content-Length": "0"}},
		{name: "empty gzip", target: files("path", "empty"), header: head("Accept-Encoding", "gzip"), status: 200,
			want: map[string]string{"Content-Encoding": "gzip"}},
		{name: "odd name", target: files("path", "ünï \"x\".bin"), status: 200, body: "\x00\x01", want: map[string]string{
			"Content-Disposition": "inline; filename*=utf-8''%C3%BCn%C3%AF%20%22x%22.bin", "Content-Type": "application/octet-stream"}},
		{name: "encoding", target: files("path", "f.txt"), header: head("Accept-Encoding", "br, identity;q=0"), status: 406, body: `"code":406`},
		{name: "range without identity", target: files("path", "f.txt"), header: head("Accept-Encoding", "gzip, identity;q=0", "Range", "bytes=0-1"), status: 406},
		{name: "missing", target: files("path", "/nope"), status: 404, body: `{"code":404,"message":"path '/nope' does not exist"}`},
		{name: "directory", target: files("path", "/home"), status: 400, body: `{"code":400,"message":"path '/home' is a directory"}`},
		{name: "home", target: files(), status: 400, body: "is a directory"},
		{name: "user", target: files("path", "f.txt", "username", "ghost"), status: 401, body: `{"code":401,"message":"invalid username: 'ghost'"}`},
		{name: "forbidden", target: files("path", "/etc/shadow"), status: 403, body: `"code":403`},
		{name: "as root", target: files("path", "/etc/shadow", "username", "root"), status: 200, body: "secret"},
		{name: "basic root", target: files("path", "/etc/shadow"), header: head("Authorization", "Basic cm9vdDo="), status: 200, body: "secret"},
		{name: "method", method: "PUT", target: files("path", "f.txt"), status: 405},
	} {
		t.Run(tc.name, func(t *testing.T) {
			method := tc.method
			if method == "" {
				method = "GET"
			}
			got := tr.do(method, tc.target, tc.header, nil)
			if got.status != tc.status {
				t.Fatalf("status = %d (%q), want %d", got.status, got.body, tc.status)
			}
			if got.header.Get("Content-Encoding") == "gzip" && method != "HEAD" {
				got.body = gunzip(t, got.body)
			}
			if tc.status < 300 && got.body != tc.body || !strings.Contains(got.body, tc.body) {
				t.Errorf("body = %q, want %q", got.body, tc.body)
			}
			for k, v := range tc.want {
				if got.header.Get(k) != v {
					t.Errorf("%s = %q, want %q", k, got.header.Get(k), v)
				}
			}
			if tc.status >= 400 && tc.status != 405 && tc.status != 416 {
				var e struct{ Code int }
				if err := json.Unmarshal([]byte(got.body), &e); err != nil || e.Code != tc.status {
					t.Errorf("error body = %q, want JSON with code %d", got.body, tc.status)
				}
			}
		})
	}
}

// form is the body of a multipart upload: pairs of a filename and content.
func form(parts ...string) (http.Header, io.Reader) {
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	_ = m.WriteField("other", "ignored")
	for i := 0; i < len(parts); i += 2 {
		h := map[string][]string{"Content-Disposition": {`form-data; name="file"`}}
		if parts[i] != "" {
			h["Content-Disposition"][0] += `; filename="` + parts[i] + `"`
		}
		w, _ := m.CreatePart(h)
		_, _ = w.Write([]byte(parts[i+1]))
	}
	_ = m.Close()
	return head("Content-Type", m.FormDataContentType()), &b
}

func TestUpload(t *testing.T) {
	raw := func(content string, pairs ...string) func() (http.Header, io.Reader) {
		return func() (http.Header, io.Reader) {
			return head(append([]string{"Content-Type", "application/octet-stream"}, pairs...)...), strings.NewReader(content)
		}
	}
	parts := func(p ...string) func() (http.Header, io.Reader) {
		return func() (http.Header, io.Reader) { return form(p...) }
	}
	for _, tc := range []struct {
		name   string
		o      fsys.Options
		target string
		body   func() (http.Header, io.Reader)
		status int
		answer string            // of an error, a part
		have   map[string]string // files after it
	}{
		{"multipart", fsys.Options{}, files(), parts("/home/user/a b/ü.txt", "x", "rel.txt", "y"), 200,
			`[{"path":"/home/user/a b/ü.txt","name":"ü.txt","type":"file"},{"path":"/home/user/rel.txt","name":"rel.txt","type":"file"}]`,
			map[string]string{"home/user/a b/ü.txt": "x", "home/user/rel.txt": "y"}},
		{"path overrides", fsys.Options{}, files("path", "p"), parts("ignored", "x"), 200, `[{"path":"/home/user/p","name":"p","type":"file"}]`,
			map[string]string{"home/user/p": "x", "home/user/ignored": "(none)"}},
		{"no filename", fsys.Options{}, files("path", "p"), parts("", "x"), 200, `[{"path":"/home/user/p","name":"p","type":"file"}]`, nil},
		{"neither", fsys.Options{}, files(), parts("", "x"), 400, "no filename", nil},
		{"no part", fsys.Options{}, files(), parts(), 400, "no part", nil},
		{"twice", fsys.Options{}, files(), parts("x", "1", "./x", "2"), 400, "more than one file", map[string]string{"home/user/x": "1"}},
		{"raw", fsys.Options{}, files("path", "r"), raw("data"), 200, `[{"path":"/home/user/r","name":"r","type":"file"}]`, map[string]string{"home/user/r": "data"}},
		{"raw empty", fsys.Options{}, files("path", "r"), raw(""), 200, `[{"path":"/home/user/r","name":"r","type":"file"}]`, map[string]string{"home/user/r": ""}},
		{"raw without path", fsys.Options{}, files(), raw("data"), 400, "path", nil},
		{"gzip", fsys.Options{}, files("path", "r"), raw(gzipped("data"), "Content-Encoding", "gzip"), 200, `[{"path":"/home/user/r","name":"r","type":"file"}]`,
			map[string]string{"home/user/r": "data"}},
		{"not gzip", fsys.Options{}, files("path", "r"), raw("data", "Content-Encoding", "gzip"), 400, "gzip", map[string]string{"home/user/r": "(none)"}},
		{"cut gzip", fsys.Options{}, files("path", "old"), raw(gzipped(strings.Repeat("data", 99))[:30], "Content-Encoding", "gzip"), 400, "read upload",
			map[string]string{"home/user/old": "old"}},
		{"brotli", fsys.Options{}, files("path", "r"), raw("data", "Content-Encoding", "br"), 400, "Content-Encoding", nil},
		{"other type", fsys.Options{}, files("path", "r"), raw("data", "Content-Type", "text/plain"), 400, "multipart", nil},
		{"metadata", fsys.Options{}, files("path", "r"), raw("data", "X-Metadata-Kind-Of", "Report 1"), 200,
			`[{"path":"/home/user/r","name":"r","type":"file","metadata":{"kind-of":"Report 1"}}]`, nil},
		{"metadata too long", fsys.Options{}, files("path", "r"), raw("data", "X-Metadata-A", strings.Repeat("x", 5000)), 400, "larger", nil},
		{"metadata key too long", fsys.Options{}, files("path", "r"), raw("data", "X-Metadata-"+strings.Repeat("k", 247), "x"), 400, "longer", nil},
		{"metadata not ASCII", fsys.Options{}, files("path", "r"), raw("data", "X-Metadata-A", "ü"), 400, "printable", nil},
		{"overwrite", fsys.Options{}, files("path", "old"), raw("new"), 200, `[{"path":"/home/user/old","name":"old","type":"file"}]`, map[string]string{"home/user/old": "new"}},
		{"through link", fsys.Options{}, files("path", "link"), raw("new"), 200, `[{"path":"/home/user/link","name":"link","type":"file"}]`,
			map[string]string{"home/user/old": "new"}},
		{"through broken link", fsys.Options{}, files("path", "to-new"), raw("new"), 200, `[{"path":"/home/user/to-new","name":"to-new","type":"file"}]`,
			map[string]string{"home/user/made": "new"}},
		{"directory", fsys.Options{}, files("path", "/home/user"), raw("x"), 400, "is a directory", nil},
		{"root", fsys.Options{}, files("path", "/"), raw("x"), 400, "is a directory", nil},
		{"below a file", fsys.Options{}, files("path", "old/x"), raw("x"), 400, "not a directory", map[string]string{"home/user/old": "old"}},
		{"user", fsys.Options{}, files("path", "x", "username", "ghost"), raw("x"), 401, "invalid username: 'ghost'", nil},
		{"forbidden", fsys.Options{}, files("path", "/etc/passwd"), raw("x"), 403, "permission denied", map[string]string{"etc/passwd": passwd}},
		{"unwritable file in own directory", fsys.Options{}, files("path", "readonly"), raw("x"), 403, "permission denied", map[string]string{"home/user/readonly": "keep"}},
		{"anywhere as root", fsys.Options{RootThenOwn: true}, files("path", "/0/a.txt"), raw("x"), 200, `[{"path":"/0/a.txt","name":"a.txt","type":"file"}]`,
			map[string]string{"0/a.txt": "x"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tr := newTree(t, tc.o)
			tr.write("home/user/old", "old", userID, 0o640)
			tr.write("home/user/readonly", "keep", 0, 0o644)
			tr.link("old", "home/user/link")
			tr.link("/home/user/made", "home/user/to-new")
			header, body := tc.body()
			got := tr.do("POST", tc.target, header, body)
			if got.status != tc.status {
				t.Fatalf("status = %d (%s), want %d", got.status, got.body, tc.status)
			}
			if s := strings.TrimSpace(got.body); tc.status == 200 && s != tc.answer || !strings.Contains(s, tc.answer) {
				t.Errorf("answer = %s, want %s", s, tc.answer)
			}
			have := map[string]string{}
			for p := range tc.have {
				have[p] = tr.read(p)
			}
			if diff := cmp.Diff(tc.have, have); len(tc.have) > 0 && diff != "" {
				t.Error(diff)
			}
			tr.noLeftovers()
		})
	}
}

// noLeftovers fails the test when something staged is still in the home directory.
func (tr *tree) noLeftovers() {
	tr.t.Helper()
	entries, err := os.ReadDir(tr.host("home/user"))
	tr.must(err)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".soulbox-") {
			tr.t.Errorf("left behind: %s", e.Name())
		}
	}
}

func TestUploadOwner(t *testing.T) {
	for _, tc := range []struct {
		name, path string
		o          fsys.Options
		uid, mode  uint32
	}{
		{"new", "x/y", fsys.Options{}, userID, 0o644},
		{"mode is kept", "old", fsys.Options{}, userID, 0o640},
		{"setuid is not", "suid", fsys.Options{}, userID, 0o755},
		{"as root", "/srv/x", fsys.Options{RootThenOwn: true}, userID, 0o644},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tr := newTree(t, tc.o)
			tr.write("home/user/old", "old", userID, 0o640)
			tr.write("home/user/suid", "old", userID, 0o755)
			tr.must(os.Chmod(tr.host("home/user/suid"), 0o755|os.ModeSetuid))
			if got := tr.do("POST", files("path", tc.path), head("Content-Type", "application/octet-stream"), strings.NewReader("x")); got.status != 200 {
				t.Fatalf("upload: %d %s", got.status, got.body)
			}
			at := "home/user/" + tc.path
			if tc.path[0] == '/' {
				at = tc.path
			}
			var st unix.Stat_t
			tr.must(unix.Stat(tr.host(at), &st))
			if st.Uid != tc.uid || st.Gid != tc.uid || st.Mode&0o7777 != tc.mode {
				t.Errorf("%s is %d:%d %o, want %d:%d %o", at, st.Uid, st.Gid, st.Mode&0o7777, tc.uid, tc.uid, tc.mode)
			}
		})
	}
}

// TestMetadataReplaced holds that an upload's metadata is all the file has.
func TestMetadataReplaced(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	for _, h := range []http.Header{head("X-Metadata-A", "1", "X-Metadata-B", "2"), head("X-Metadata-C", "3")} {
		h.Set("Content-Type", "application/octet-stream")
		if got := tr.do("POST", files("path", "f"), h, strings.NewReader("x")); got.status != 200 {
			t.Fatalf("upload: %d %s", got.status, got.body)
		}
	}
	e, err := statOf("f")(t.Context(), tr, "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"c": "3"}, e.GetMetadata()); diff != "" {
		t.Error(diff)
	}
}

// TestBrokenUpload cuts the connection in the middle of a body.
func TestBrokenUpload(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	tr.write("home/user/f", "whole", userID, 0o644)
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), "POST", tr.url+files("path", "f"), r)
	tr.must(err)
	req.Header.Set("Content-Type", "application/octet-stream")
	done := make(chan error, 1)
	go func() {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		done <- err
	}()
	_, err = w.Write(bytes.Repeat([]byte("half"), 1<<16))
	tr.must(err)
	_ = w.CloseWithError(io.ErrClosedPipe)
	if err := <-done; err == nil {
		t.Error("the broken upload was answered")
	}
	tr.closeServer()
	if got := tr.read("home/user/f"); got != "whole" {
		t.Errorf("the file is %d bytes, want what it was", len(got))
	}
	tr.noLeftovers()
}

// TestFull uploads to a file system without space.
func TestFull(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	tr.mkdir("small", 0, 0o755)
	need(t, unix.Mount("tmpfs", tr.host("small"), "tmpfs", 0, "size=64k,mode=0777"))
	defer func() { tr.must(unix.Unmount(tr.host("small"), unix.MNT_DETACH)) }()
	got := tr.do("POST", files("path", "/small/f"), head("Content-Type", "application/octet-stream"), bytes.NewReader(make([]byte, 1<<20)))
	if got.status != http.StatusInsufficientStorage || !strings.Contains(got.body, `"code":507`) {
		t.Errorf("upload = %d %s, want 507", got.status, got.body)
	}
	entries, err := os.ReadDir(tr.host("small"))
	tr.must(err)
	if len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}

// TestUploadInPlace uploads to what cannot be replaced: a mount point, and another's file in a sticky directory.
func TestUploadInPlace(t *testing.T) {
	tr := newTree(t, fsys.Options{})
	tr.write("mounted", "old", userID, 0o644)
	tr.write("home/user/point", "", userID, 0o644)
	need(t, unix.Mount(tr.host("mounted"), tr.host("home/user/point"), "", unix.MS_BIND, ""))
	defer func() { tr.must(unix.Unmount(tr.host("home/user/point"), unix.MNT_DETACH)) }()
	tr.write("tmp/shared", "old and longer", otherID, 0o666)
	for _, tc := range []struct{ path, at string }{{"point", "mounted"}, {"/tmp/shared", "tmp/shared"}} {
		h := head("Content-Type", "application/octet-stream", "X-Metadata-K", "v")
		if got := tr.do("POST", files("path", tc.path), h, strings.NewReader("new")); got.status != 200 {
			t.Errorf("upload to %s: %d %s", tc.path, got.status, got.body)
		}
		if got := tr.read(tc.at); got != "new" {
			t.Errorf("%s = %q, want new", tc.at, got)
		}
	}
	entries, err := os.ReadDir(tr.host("tmp"))
	tr.must(err)
	if len(entries) != 1 {
		t.Errorf("left behind in /tmp: %v", entries)
	}
	tr.noLeftovers()
}

func TestCompose(t *testing.T) {
	for _, tc := range []struct {
		name   string
		body   string
		status int
		answer string
		have   map[string]string
	}{
		{"two", `{"source_paths":["a","/home/user/b"],"destination":"sub/c"}`, 200, `{"path":"/home/user/sub/c","name":"c","type":"file"}`,
			map[string]string{"home/user/sub/c": "AB", "home/user/a": "(none)", "home/user/b": "(none)"}},
		{"into a source", `{"source_paths":["b","a"],"destination":"b"}`, 200, "", map[string]string{"home/user/b": "BA", "home/user/a": "(none)"}},
		{"missing", `{"source_paths":["a","nope"],"destination":"c"}`, 404, "does not exist", map[string]string{"home/user/c": "(none)", "home/user/a": "A"}},
		{"directory", `{"source_paths":["a","/home"],"destination":"c"}`, 400, "is a directory", map[string]string{"home/user/a": "A"}},
		{"none", `{"source_paths":[],"destination":"c"}`, 400, "source_paths", nil},
		{"no destination", `{"source_paths":["a"]}`, 400, "destination", nil},
		{"no JSON", `what`, 400, "read body", nil},
		{"user", `{"source_paths":["a"],"destination":"c","username":"ghost"}`, 401, "invalid username", nil},
		{"forbidden", `{"source_paths":["/etc/shadow"],"destination":"c"}`, 403, "permission denied", map[string]string{"etc/shadow": "secret"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tr := newTree(t, fsys.Options{})
			tr.write("home/user/a", "A", userID, 0o644)
			tr.write("home/user/b", "B", userID, 0o644)
			got := tr.do("POST", "/files/compose", head("Content-Type", "application/json"), strings.NewReader(tc.body))
			if got.status != tc.status || !strings.Contains(got.body, tc.answer) {
				t.Fatalf("compose = %d %s, want %d %s", got.status, got.body, tc.status, tc.answer)
			}
			for p, want := range tc.have {
				if have := tr.read(p); have != want {
					t.Errorf("%s = %q, want %q", p, have, want)
				}
			}
			tr.noLeftovers()
		})
	}
}
