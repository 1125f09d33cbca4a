package rpc

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/soulbox/soulbox/rpc/schema/schematest"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

// A deprecated method says so on its route and as a procedure; its neighbours do not.
func TestAnnounce(t *testing.T) {
	options := &descriptorpb.MethodOptions{Deprecated: proto.Bool(true)}
	proto.SetExtension(options, pb.E_Lifecycle, &pb.Lifecycle{Since: "1970-01-02", Sunset: "1970-01-03"})
	proto.SetExtension(options, annotations.E_Http, &annotations.HttpRule{Pattern: &annotations.HttpRule_Get{Get: "/v1/fakes/{id}"}})
	methods := []protoreflect.MethodDescriptor{schematest.Method(t, nil, options)}
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	h, err := announce(methods, ok)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		method, path string
		deprecated   bool
	}{
		{"GET", "/v1/fakes/a", true},
		{"HEAD", "/v1/fakes/a", true},
		{"POST", "/soulbox.v1.Fake/Call", true},
		{"POST", "/v1/fakes/a", false},
		{"GET", "/v1/fakes", false},
		{"POST", "/soulbox.v1.Fake/Other", false},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, nil))
		want, sunset := "", ""
		if tt.deprecated {
			want, sunset = "@86400", "Sat, 03 Jan 1970 00:00:00 GMT"
		}
		if got := w.Header().Get("Deprecation"); got != want {
			t.Errorf("%s %s: Deprecation %q, want %q", tt.method, tt.path, got, want)
		}
		if got := w.Header().Get("Sunset"); got != sunset {
			t.Errorf("%s %s: Sunset %q, want %q", tt.method, tt.path, got, sunset)
		}
	}
	proto.ClearExtension(options, pb.E_Lifecycle)
	if _, err := announce([]protoreflect.MethodDescriptor{schematest.Method(t, nil, options)}, ok); err == nil {
		t.Error("announce of a method that is deprecated since nobody knows when = nil, want an error")
	}
}
