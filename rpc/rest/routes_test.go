package rest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/rpc/errs"
	"github.com/soulbox/soulbox/rpc/schema"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

func TestFind(t *testing.T) {
	all := routes(schema.Methods())
	for _, tt := range []struct {
		method, path string
		input        string   // name of the route's message; empty: no route
		allowed      []string // then
	}{
		{"POST", "/v1/executions", "ExecuteCodeRequest", nil},
		{"POST", "/v1/executions:stream", "StreamExecutionRequest", nil},
		{"GET", "/v1/executions", "ListExecutionsRequest", nil},
		{"GET", "/v1/executions/x", "GetExecutionRequest", nil},
		{"POST", "/v1/executions/x:cancel", "CancelExecutionRequest", nil},
		{"DELETE", "/v1/keys/x", "RevokeKeyRequest", nil},
		{"GET", "/v1/system/info", "GetSystemInfoRequest", nil},
		{"GET", "/v1/executions/x:cancel", "", []string{"OPTIONS", "POST"}},
		{"PUT", "/v1/executions", "", []string{"GET", "HEAD", "OPTIONS", "POST"}},
		{"GET", "/v1/executions/", "", nil},
		{"POST", "/v1/executions/:cancel", "", []string{"GET", "HEAD", "OPTIONS"}}, // of an execution named ":cancel"
		{"GET", "/v1//executions", "", nil},
		{"GET", "/", "", nil},
		{"GET", "", "", nil},
	} {
		found, allowed := find(all, tt.method, tt.path)
		got := ""
		if found != nil {
			got = string(found.input.Name())
		}
		if got != tt.input {
			t.Errorf("find(%s %s) = %q, want %q", tt.method, tt.path, got, tt.input)
		}
		if diff := cmp.Diff(tt.allowed, allowed); diff != "" {
			t.Errorf("find(%s %s) allows (-want +got):\n%s", tt.method, tt.path, diff)
		}
	}
}

func TestCheckQuery(t *testing.T) {
	list, _ := find(routes(schema.Methods()), http.MethodGet, "/v1/executions")
	for query, field := range map[string]string{
		"": "", "pageSize=5&state=STATE_DONE&language=c&pageToken=x": "", "page_size=5": "", "state=3": "",
		"pageSize=x": "pageSize", "pageSize=": "pageSize", "pageSize=99999999999": "pageSize", "pagesize=1": "pagesize",
		"state=DONE": "state", "state=99": "state", "language=a&language=b": "language", "pageSize=1&page_size=1": "pageSize",
	} {
		got := ""
		if err := list.checkQuery(query); err != nil {
			got = errs.Field(err)
		}
		if got != field {
			t.Errorf("checkQuery(%q) complains of %q, want %q", query, got, field)
		}
	}
	if err := list.checkQuery("a=%zz"); err == nil {
		t.Error(`checkQuery("a=%zz") = nil, want an error`)
	}
}

// FuzzDecode: a body never panics, and what is refused is worded for a client.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{``, `{}`, `{"language":"c","code":"x"}`, `{"limits":{"x":1}}`, `{"a":`, "\x1f\x8b\x08", `{"wait":true}`} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, zipped bool) {
		const limit = 1 << 16
		r, err := http.NewRequest(http.MethodPost, (&url.URL{Path: PathExecute}).String(), strings.NewReader(string(data)))
		if err != nil {
			t.Fatal(err)
		}
		if zipped {
			r.Header.Set("Content-Encoding", "gzip")
		}
		if r, err = withBody(r, limit); err != nil {
			t.Fatal(err)
		}
		if err := decode(r.Body, &pb.ExecuteCodeRequest{}); err != nil {
			if got := errs.From(t.Context(), nil, err); errs.Reason(got) == "" {
				t.Errorf("decode(%q) = %v, which the table does not know", data, err)
			}
		}
	})
}

// FuzzFind: whatever path and query a request has, what is refused names a reason, and HEAD goes where GET does.
func FuzzFind(f *testing.F) {
	all := routes(schema.Methods())
	for _, seed := range [][2]string{
		{"/v1/executions", "pageSize=1&state=STATE_DONE"}, {"/v1/executions/x:cancel", ""}, {"/v1//", "a=%zz"}, {"/v1/languages/c%2B%2B", "x=1&x=2"}, {"", ";"},
	} {
		f.Add("GET", seed[0], seed[1])
		f.Add("POST", seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, method, path, query string) {
		found, allowed := find(all, method, path)
		if found == nil {
			return
		}
		if len(allowed) > 0 {
			t.Errorf("find(%q, %q) finds a route and allows %q", method, path, allowed)
		}
		if err := found.checkQuery(query); err != nil && (errs.Reason(err) == "" || err.Message() == "") {
			t.Errorf("checkQuery(%q) = %v, without a reason or a text", query, err)
		}
	})
}
