package rest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/protobuf/proto"

	"github.com/soulbox/soulbox/rpc/errs"
)

// bind fills m from the path and the query of a request for r, as generated code does for calls that are no streams.
func (r *route) bind(req *http.Request, m proto.Message) error {
	values := url.Values{}
	for k, v := range req.URL.Query() {
		values[k] = v
	}
	parts := strings.Split(strings.TrimSuffix(req.URL.Path, ":"+r.verb), "/")
	vars := r.vars
	for i, part := range r.parts {
		if part == "{}" {
			values.Set(vars[0], parts[i])
			vars = vars[1:]
		}
	}
	if err := runtime.PopulateQueryParameters(m, values, utilities.NewDoubleArray(nil)); err != nil {
		return errs.Invalid("", fmt.Sprintf("the query cannot be read: %v", err))
	}
	return nil
}
