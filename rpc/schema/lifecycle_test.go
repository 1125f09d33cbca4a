package schema_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/soulbox/soulbox/rpc/schema"
	"github.com/soulbox/soulbox/rpc/schema/schematest"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

func TestDeprecation(t *testing.T) {
	for _, tt := range []struct {
		name      string
		service   bool // deprecated
		method    bool
		lifecycle *pb.Lifecycle
		want      http.Header // nil: not deprecated
		wrong     string
	}{
		{name: "stays", lifecycle: &pb.Lifecycle{Since: "2026-01-31"}},
		{name: "since", method: true, lifecycle: &pb.Lifecycle{Since: "2026-01-31"}, want: http.Header{"Deprecation": {"@1769817600"}}},
		{name: "with its service", service: true, lifecycle: &pb.Lifecycle{Since: "1970-01-02"}, want: http.Header{"Deprecation": {"@86400"}}},
		{name: "all", method: true, lifecycle: &pb.Lifecycle{Since: "2026-01-31", Sunset: "2027-01-01", Link: "https://example.org/new"}, want: http.Header{
			"Deprecation": {"@1769817600"}, "Sunset": {"Fri, 01 Jan 2027 00:00:00 GMT"}, "Link": {`<https://example.org/new>; rel="deprecation"`}}},
		{name: "no day", method: true, wrong: "no day since when"},
		{name: "no date", method: true, lifecycle: &pb.Lifecycle{Since: "soon"}, wrong: "no day since when"},
		{name: "gone before", method: true, lifecycle: &pb.Lifecycle{Since: "2026-01-31", Sunset: "2025-01-31"}, wrong: "no day after"},
		{name: "relative link", method: true, lifecycle: &pb.Lifecycle{Since: "2026-01-31", Link: "/new"}, wrong: "no absolute URL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			options := &descriptorpb.MethodOptions{Deprecated: proto.Bool(tt.method)}
			if tt.lifecycle != nil {
				proto.SetExtension(options, pb.E_Lifecycle, tt.lifecycle)
			}
			m := schematest.Method(t, &descriptorpb.ServiceOptions{Deprecated: proto.Bool(tt.service)}, options)
			d, err := schema.DeprecationOf(m)
			if tt.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wrong) {
					t.Errorf("DeprecationOf = %v, want %q", err, tt.wrong)
				}
				return
			}
			if err != nil || (d == nil) != (tt.want == nil) {
				t.Fatalf("DeprecationOf = %v, %v, want deprecated %t", d, err, tt.want != nil)
			}
			if d == nil {
				return
			}
			got := http.Header{}
			d.Announce(got)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
		})
	}
}

// The API itself says of all that is deprecated since when.
func TestMethods(t *testing.T) {
	methods := schema.Methods()
	if len(methods) < 11 {
		t.Errorf("Methods = %v, want those of all services", methods)
	}
	for _, m := range methods {
		if _, err := schema.DeprecationOf(m); err != nil {
			t.Error(err)
		}
		if got := schema.Procedure(m); !strings.HasPrefix(got, "/soulbox.v1.") {
			t.Errorf("Procedure(%s) = %s", m.FullName(), got)
		}
	}
}
