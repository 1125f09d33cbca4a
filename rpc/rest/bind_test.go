package rest

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/soulbox/soulbox/rpc/errs"
	"github.com/soulbox/soulbox/rpc/schema"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

func TestBind(t *testing.T) {
	all := append(routes(schema.Methods()), contentRoutes()...)
	for _, tt := range []struct {
		method, target string
		want           proto.Message
	}{
		{"GET", "/v1/sandboxes/i1/files?path=%2Fa%20b%2B&user=root&offset=5&limit=6", &pb.ReadFileRequest{Id: "i1", Path: "/a b+", User: "root", Offset: 5, Limit: 6}},
		{"PUT", "/v1/sandboxes/i1/files?path=x", &pb.OpenFile{Id: "i1", Path: "x"}},
		{"GET", "/v1/sandboxes/i1/files:watch?path=.&recursive=true", &pb.WatchFilesRequest{Id: "i1", Path: ".", Recursive: true}},
		{"GET", "/v1/sandboxes/i1/stats:stream?interval=0.5s", &pb.StreamStatsRequest{Id: "i1", Interval: &durationpb.Duration{Nanos: 500_000_000}}},
		{"GET", "/v1/sandboxes/a%20b/stats:stream", &pb.StreamStatsRequest{Id: "a b"}},
	} {
		r := httptest.NewRequest(tt.method, tt.target, nil)
		found, _ := find(all, tt.method, r.URL.Path)
		if found == nil {
			t.Fatalf("%s %s has no route", tt.method, tt.target)
		}
		if err := found.checkQuery(r.URL.RawQuery); err != nil {
			t.Errorf("%s %s: checkQuery = %v", tt.method, tt.target, err)
		}
		got := tt.want.ProtoReflect().New().Interface()
		if err := found.bind(r, got); err != nil {
			t.Errorf("%s %s: bind = %v", tt.method, tt.target, err)
		}
		if diff := cmp.Diff(tt.want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", tt.method, tt.target, diff)
		}
	}
}

// The query of content's routes is checked as that of others; the body of an upload is not JSON and has no parameters.
func TestCheckQueryOfContent(t *testing.T) {
	all := append(routes(schema.Methods()), contentRoutes()...)
	for _, tt := range []struct{ method, query, field string }{
		{"GET", "path=x&offset=1&limit=2&user=u", ""}, {"PUT", "path=x&user=u", ""}, {"GET", "id=y&path=x", "id"}, {"PUT", "id=y&path=x", "id"},
		{"PUT", "path=x&metadata=y", "metadata"}, {"PUT", "path=x&path=y", "path"}, {"PUT", "path=x&offset=1", "offset"}, {"GET", "offset=1.5", "offset"},
	} {
		found, _ := find(all, tt.method, "/v1/sandboxes/i1/files")
		got := ""
		if err := found.checkQuery(tt.query); err != nil {
			got = errs.Field(err)
		}
		if got != tt.field {
			t.Errorf("checkQuery(%s %q) complains of %q, want %q", tt.method, tt.query, got, tt.field)
		}
	}
}

func TestIsContent(t *testing.T) {
	for target, want := range map[string]bool{"/v1/sandboxes/i1/files": true, "/v1/sandboxes/i1/files:list": false, "/v1/sandboxes": false, "/v1/executions": false} {
		if got := IsContent(httptest.NewRequest(http.MethodPut, target, nil)); got != want {
			t.Errorf("IsContent(PUT %s) = %v, want %v", target, got, want)
		}
	}
	if IsContent(httptest.NewRequest(http.MethodPost, "/v1/sandboxes/i1/files", nil)) {
		t.Error("a POST of files counts as content")
	}
}
