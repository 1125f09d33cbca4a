package rest

import (
	"context"

	"google.golang.org/protobuf/proto"

	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/rpc/v1"
)

// call validates m, as an interceptor does on Connect, and calls fn.
func call[Req, Res proto.Message](
	ctx context.Context, s *v1.Services, fn func(context.Context, Req) (Res, error), m Req,
) (Res, error) {
	if err := s.Validate(m); err != nil {
		var none Res
		return none, err
	}
	return fn(ctx, m)
}

// executions lets generated code call the service. Its stream is never called: see [Handler].
type executions struct {
	pb.UnimplementedExecutionServiceServer
	s *v1.Services
}

func (e executions) ExecuteCode(ctx context.Context, m *pb.ExecuteCodeRequest) (*pb.Execution, error) {
	return call(ctx, e.s, e.s.Execution().ExecuteCode, m)
}

func (e executions) GetExecution(ctx context.Context, m *pb.GetExecutionRequest) (*pb.Execution, error) {
	return call(ctx, e.s, e.s.Execution().GetExecution, m)
}

func (e executions) ListExecutions(
	ctx context.Context, m *pb.ListExecutionsRequest,
) (*pb.ListExecutionsResponse, error) {
	return call(ctx, e.s, e.s.Execution().ListExecutions, m)
}

func (e executions) CancelExecution(ctx context.Context, m *pb.CancelExecutionRequest) (*pb.Execution, error) {
	return call(ctx, e.s, e.s.Execution().CancelExecution, m)
}

// languages lets generated code call the service.
type languages struct {
	pb.UnimplementedLanguageServiceServer
	s *v1.Services
}

func (l languages) ListLanguages(ctx context.Context, m *pb.ListLanguagesRequest) (*pb.ListLanguagesResponse, error) {
	return call(ctx, l.s, l.s.Language().ListLanguages, m)
}

func (l languages) GetLanguage(ctx context.Context, m *pb.GetLanguageRequest) (*pb.Language, error) {
	return call(ctx, l.s, l.s.Language().GetLanguage, m)
}

// system lets generated code call the service.
type system struct {
	pb.UnimplementedSystemServiceServer
	s *v1.Services
}

func (y system) GetSystemInfo(ctx context.Context, m *pb.GetSystemInfoRequest) (*pb.SystemInfo, error) {
	return call(ctx, y.s, y.s.System().GetSystemInfo, m)
}

// keys lets generated code call the service.
type keys struct {
	pb.UnimplementedKeyServiceServer
	s *v1.Services
}

func (k keys) CreateKey(ctx context.Context, m *pb.CreateKeyRequest) (*pb.CreateKeyResponse, error) {
	return call(ctx, k.s, k.s.Key().CreateKey, m)
}

func (k keys) ListKeys(ctx context.Context, m *pb.ListKeysRequest) (*pb.ListKeysResponse, error) {
	return call(ctx, k.s, k.s.Key().ListKeys, m)
}

func (k keys) RevokeKey(ctx context.Context, m *pb.RevokeKeyRequest) (*pb.Key, error) {
	return call(ctx, k.s, k.s.Key().RevokeKey, m)
}
