package rpc

import (
	"net/http"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/soulbox/soulbox/rpc/rest"
	"github.com/soulbox/soulbox/rpc/schema"
)

// VersionHeader is the daemon's version in every answer, refusals too.
const VersionHeader = "Soulbox-Version"

// withVersion says the daemon's version in every answer.
func withVersion(version string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(VersionHeader, version)
		next.ServeHTTP(w, r)
	})
}

// announce tells callers of those methods that are deprecated, however they call them.
func announce(methods []protoreflect.MethodDescriptor, next http.Handler) (http.Handler, error) {
	notices := map[protoreflect.FullName]*schema.Deprecation{}
	procedures := map[string]*schema.Deprecation{}
	for _, m := range methods {
		d, err := schema.DeprecationOf(m)
		if err != nil {
			return nil, err
		}
		if d != nil {
			notices[m.FullName()], procedures[schema.Procedure(m)] = d, d
		}
	}
	if len(notices) == 0 {
		return next, nil
	}
	route := rest.Finder(methods)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := procedures[r.URL.Path]
		if d == nil {
			if m := route(r.Method, r.URL.Path); m != nil {
				d = notices[m.FullName()]
			}
		}
		if d != nil {
			d.Announce(w.Header())
		}
		next.ServeHTTP(w, r)
	}), nil
}
