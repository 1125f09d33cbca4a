package rest

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/textproto"
	"strings"

	"connectrpc.com/connect"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"

	"github.com/soulbox/soulbox/rpc/errs"
	"github.com/soulbox/soulbox/rpc/schema"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/rpc/v1"
)

// Paths of the two routes that need a place in the queue.
const (
	PathExecute = "/v1/executions"
	PathStream  = "/v1/executions:stream"
)

// Handler serves /v1.
type Handler struct {
	s       *v1.Services
	gateway *runtime.ServeMux
	routes  []route
	maxBody int64
}

// New returns a handler that calls s. A body has at most maxBody bytes, decompressed.
func New(s *v1.Services, maxBody int64) (*Handler, error) {
	h := &Handler{s: s, routes: append(routes(schema.Methods()), contentRoutes()...), maxBody: maxBody}
	// Nothing that a client sends in headers becomes metadata, and paths and methods are what they say they are.
	none := func(string) (string, bool) { return "", false }
	h.gateway = runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, marshaler{}),
		runtime.WithErrorHandler(h.fail),
		runtime.WithIncomingHeaderMatcher(none),
		runtime.WithOutgoingHeaderMatcher(none),
		runtime.WithDisablePathLengthFallback(),
	)
	ctx := context.Background() // never used: nothing is dialled
	if err := errors.Join(
		pb.RegisterExecutionServiceHandlerServer(ctx, h.gateway, executions{s: s}),
		pb.RegisterLanguageServiceHandlerServer(ctx, h.gateway, languages{s: s}),
		pb.RegisterSystemServiceHandlerServer(ctx, h.gateway, system{s: s}),
		pb.RegisterKeyServiceHandlerServer(ctx, h.gateway, keys{s: s}),
		pb.RegisterImageServiceHandlerServer(ctx, h.gateway, imageService{s: s}),
		pb.RegisterSandboxServiceHandlerServer(ctx, h.gateway, sandboxes{s: s}),
	); err != nil {
		return nil, fmt.Errorf("register the routes of soulbox.v1: %w", err)
	}
	return h, nil
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet // net/http drops the body
	}
	found, allowed := find(h.routes, method, r.URL.Path)
	switch {
	case found == nil && len(allowed) == 0:
		errs.Write(w, errs.New(connect.CodeNotFound, errs.ReasonNoRoute, "no such path"))
		return
	case found == nil:
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		if method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		errs.Write(w, errs.New(connect.CodeUnimplemented, errs.ReasonMethodNotAllowed,
			"this path knows "+strings.Join(allowed, ", ")))
		return
	}
	if err := found.checkQuery(r.URL.RawQuery); err != nil {
		errs.Write(w, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if found.content { // of any kind and size
		h.streams()[string(found.of.FullName())](w, r, found)
		return
	}
	if err := checkMediaType(r); err != nil {
		errs.Write(w, err)
		return
	}
	in, err := withBody(r, h.maxBody)
	if err != nil {
		errs.Write(w, h.s.Error(r.Context(), err))
		return
	}
	r = in
	if found.of.IsStreamingServer() { // which may be a HEAD
		h.streams()[string(found.of.FullName())](w, r, found)
		return
	}
	r.Method = method
	for name := range r.Header { // the gateway would take a deadline from it
		if strings.HasPrefix(textproto.CanonicalMIMEHeaderKey(name), "Grpc-") {
			r.Header.Del(name)
		}
	}
	h.gateway.ServeHTTP(w, r)
}

// checkMediaType refuses bodies that say they are no JSON. A form is what clients send that were told nothing, so
// it passes and is judged by its content.
func checkMediaType(r *http.Request) *connect.Error {
	value := r.Header.Get("Content-Type")
	if value == "" || r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	media, _, err := mime.ParseMediaType(value)
	if err == nil && (media == "application/json" || strings.HasSuffix(media, "+json") ||
		media == "application/x-www-form-urlencoded" || media == "text/plain" || media == "application/octet-stream") {
		return nil
	}
	return errs.New(connect.CodeInvalidArgument, errs.ReasonMediaType, "Content-Type must be application/json")
}

// fail answers with an error of the gateway's or of a service's.
func (h *Handler) fail(
	ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error,
) {
	if b, ok := r.Context().Value(bodyKey{}).(*body); ok && b.err != nil {
		err = b.err
	}
	if e, ok := errors.AsType[*runtime.HTTPStatusError](err); ok {
		err = e.Err
	}
	refuse(w, h.s.Error(ctx, err))
}

// refuse answers with err, and closes the connection when the body was not read to its end.
func refuse(w http.ResponseWriter, err *connect.Error) {
	if errs.Reason(err) == errs.ReasonBodyTooLarge {
		w.Header().Set("Connection", "close")
	}
	errs.Write(w, err)
}
