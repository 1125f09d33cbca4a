package rpc

import (
	"context"
	"net/http"
	"strings"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"

	"github.com/soulbox/soulbox/rpc/errs"
	"github.com/soulbox/soulbox/rpc/schema"
)

// registerStandard adds what gRPC's tools expect of every server: reflection, so that they need no protobuf files, and
// health.
func registerStandard(mux *http.ServeMux, g Gate, opts connect.HandlerOption) {
	names := []string{grpchealth.HealthV1ServiceName}
	for _, s := range schema.Services() {
		names = append(names, string(s.FullName()))
	}
	reflector := grpcreflect.NewStaticReflector(names...)
	mux.Handle(grpcreflect.NewHandlerV1(reflector, opts))
	mux.Handle(grpcreflect.NewHandlerV1Alpha(reflector, opts))
	mux.Handle(grpchealth.NewHandler(&checker{gate: g, names: names}, opts))
}

// checker tells whether programs can be run. One engine stands behind all services, so that they are healthy together;
// the empty name is the daemon itself. There is no Watch: readiness changes twice in a daemon's life.
type checker struct {
	gate  Gate
	names []string
}

// Check implements [grpchealth.Checker].
func (c *checker) Check(_ context.Context, r *grpchealth.CheckRequest) (*grpchealth.CheckResponse, error) {
	known := r.Service == ""
	for _, name := range c.names {
		known = known || name == r.Service
	}
	if !known {
		return nil, errs.New(connect.CodeNotFound, errs.ReasonNoService, "no such service")
	}
	if c.gate.Ready() != nil {
		return &grpchealth.CheckResponse{Status: grpchealth.StatusNotServing}, nil //nolint:nilerr // that is the answer
	}
	return &grpchealth.CheckResponse{Status: grpchealth.StatusServing}, nil
}

// isProcedure tells whether a path is one of Connect's and gRPC's, which have neither "." nor "//" to clean.
func isProcedure(path string) bool {
	for _, prefix := range []string{"/soulbox.v1.", "/grpc.health.v1.", "/grpc.reflection.v1.", "/grpc.reflection.v1alpha."} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}
