package rpc_test

import (
	"context"
	"net/http"
	"slices"
	"testing"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/soulbox/soulbox/rpc/schema"
	"github.com/soulbox/soulbox/sandbox"
)

// dial returns a connection of gRPC's own client, which speaks HTTP/2 without TLS.
func dial(t *testing.T, url string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(url[len("http://"):], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func withKey(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer good")
}

func TestHealthFollowsTheEngine(t *testing.T) {
	f := newFake()
	health := grpc_health_v1.NewHealthClient(dial(t, serve(t, f)))
	for _, tt := range []struct {
		service  string
		notReady error
		want     grpc_health_v1.HealthCheckResponse_ServingStatus
		code     codes.Code
	}{
		{"", nil, grpc_health_v1.HealthCheckResponse_SERVING, codes.OK},
		{"soulbox.v1.ExecutionService", nil, grpc_health_v1.HealthCheckResponse_SERVING, codes.OK},
		{"", &sandbox.Error{Kind: sandbox.KindUnavailable, Msg: "starting"}, grpc_health_v1.HealthCheckResponse_NOT_SERVING, codes.OK},
		{"soulbox.v1.Nope", nil, grpc_health_v1.HealthCheckResponse_UNKNOWN, codes.NotFound},
	} {
		f.notReady = tt.notReady
		res, err := health.Check(withKey(t.Context()), &grpc_health_v1.HealthCheckRequest{Service: tt.service})
		if got := res.GetStatus(); got != tt.want || status.Code(err) != tt.code {
			t.Errorf("Check(%q), engine %v = %v, %v, want %v, %v", tt.service, tt.notReady, got, err, tt.want, tt.code)
		}
	}
	if _, err := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("Check without a key: %v, want unauthenticated", err)
	}
}

// A client that has no protobuf file learns of every service, and can build its descriptors.
func TestReflection(t *testing.T) {
	var h2c http.Protocols
	h2c.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &h2c}
	t.Cleanup(transport.CloseIdleConnections)
	client := grpcreflect.NewClient(&http.Client{Transport: transport}, serve(t, newFake()), connect.WithGRPC())
	stream := client.NewStream(t.Context(), grpcreflect.WithRequestHeaders(http.Header{"Authorization": {"Bearer good"}}))
	defer func() {
		if _, err := stream.Close(); err != nil {
			t.Errorf("close the stream: %v", err)
		}
	}()
	got, err := stream.ListServices()
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet // of a stream, which sends no file twice
	for _, s := range schema.Services() {
		if !slices.Contains(got, s.FullName()) {
			t.Errorf("ListServices = %v, without %s", got, s.FullName())
		}
		files, err := stream.FileContainingSymbol(s.FullName())
		if err != nil {
			t.Errorf("FileContainingSymbol(%s): %v", s.FullName(), err)
		}
		set.File = append(set.File, files...)
	}
	built, err := protodesc.NewFiles(&set)
	if err != nil {
		t.Fatalf("build the descriptors that were sent: %v", err)
	}
	for _, s := range schema.Services() {
		if _, err := built.FindDescriptorByName(s.FullName()); err != nil {
			t.Errorf("descriptor of %s: %v", s.FullName(), err)
		}
	}
	if len(got) < 5 {
		t.Errorf("ListServices = %v, want health and all services of soulbox.v1", got)
	}
	anonymous := client.NewStream(t.Context())
	if _, err := anonymous.ListServices(); connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("ListServices without a key: %v, want unauthenticated", err)
	}
	_, _ = anonymous.Close() // the stream is broken already
}
