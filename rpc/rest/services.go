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

// sandboxes lets generated code call the service. Its streams are never called: see [Handler].
type sandboxes struct {
	pb.UnimplementedSandboxServiceServer
	s *v1.Services
}

func (b sandboxes) CreateSandbox(ctx context.Context, m *pb.CreateSandboxRequest) (*pb.Sandbox, error) {
	return call(ctx, b.s, b.s.Sandbox().CreateSandbox, m)
}

func (b sandboxes) GetSandbox(ctx context.Context, m *pb.GetSandboxRequest) (*pb.Sandbox, error) {
	return call(ctx, b.s, b.s.Sandbox().GetSandbox, m)
}

func (b sandboxes) ListSandboxes(ctx context.Context, m *pb.ListSandboxesRequest) (*pb.ListSandboxesResponse, error) {
	return call(ctx, b.s, b.s.Sandbox().ListSandboxes, m)
}

func (b sandboxes) DeleteSandbox(ctx context.Context, m *pb.DeleteSandboxRequest) (*pb.Sandbox, error) {
	return call(ctx, b.s, b.s.Sandbox().DeleteSandbox, m)
}

func (b sandboxes) SetTimeout(ctx context.Context, m *pb.SetTimeoutRequest) (*pb.Sandbox, error) {
	return call(ctx, b.s, b.s.Sandbox().SetTimeout, m)
}

func (b sandboxes) SetLimits(ctx context.Context, m *pb.SetLimitsRequest) (*pb.Sandbox, error) {
	return call(ctx, b.s, b.s.Sandbox().SetLimits, m)
}

func (b sandboxes) PauseSandbox(ctx context.Context, m *pb.PauseSandboxRequest) (*pb.Sandbox, error) {
	return call(ctx, b.s, b.s.Sandbox().PauseSandbox, m)
}

func (b sandboxes) ResumeSandbox(ctx context.Context, m *pb.ResumeSandboxRequest) (*pb.Sandbox, error) {
	return call(ctx, b.s, b.s.Sandbox().ResumeSandbox, m)
}

func (b sandboxes) Exec(ctx context.Context, m *pb.ExecRequest) (*pb.ExecResponse, error) {
	return call(ctx, b.s, b.s.Sandbox().Exec, m)
}

func (b sandboxes) ListProcesses(ctx context.Context, m *pb.ListProcessesRequest) (*pb.ListProcessesResponse, error) {
	return call(ctx, b.s, b.s.Sandbox().ListProcesses, m)
}

func (b sandboxes) SignalProcess(ctx context.Context, m *pb.SignalProcessRequest) (*pb.SignalProcessResponse, error) {
	return call(ctx, b.s, b.s.Sandbox().SignalProcess, m)
}

func (b sandboxes) ListFiles(ctx context.Context, m *pb.ListFilesRequest) (*pb.ListFilesResponse, error) {
	return call(ctx, b.s, b.s.Sandbox().ListFiles, m)
}

func (b sandboxes) StatFile(ctx context.Context, m *pb.StatFileRequest) (*pb.FileInfo, error) {
	return call(ctx, b.s, b.s.Sandbox().StatFile, m)
}

func (b sandboxes) MakeDir(ctx context.Context, m *pb.MakeDirRequest) (*pb.FileInfo, error) {
	return call(ctx, b.s, b.s.Sandbox().MakeDir, m)
}

func (b sandboxes) MoveFile(ctx context.Context, m *pb.MoveFileRequest) (*pb.FileInfo, error) {
	return call(ctx, b.s, b.s.Sandbox().MoveFile, m)
}

func (b sandboxes) RemoveFile(ctx context.Context, m *pb.RemoveFileRequest) (*pb.RemoveFileResponse, error) {
	return call(ctx, b.s, b.s.Sandbox().RemoveFile, m)
}

func (b sandboxes) GetStats(ctx context.Context, m *pb.GetStatsRequest) (*pb.SandboxStats, error) {
	return call(ctx, b.s, b.s.Sandbox().GetStats, m)
}

func (b sandboxes) GetLogs(ctx context.Context, m *pb.GetLogsRequest) (*pb.GetLogsResponse, error) {
	return call(ctx, b.s, b.s.Sandbox().GetLogs, m)
}

// imageService lets generated code call the service. Its streams are never called: see [Handler].
type imageService struct {
	pb.UnimplementedImageServiceServer
	s *v1.Services
}

func (i imageService) ListImages(ctx context.Context, m *pb.ListImagesRequest) (*pb.ListImagesResponse, error) {
	return call(ctx, i.s, i.s.Image().ListImages, m)
}

func (i imageService) GetImage(ctx context.Context, m *pb.GetImageRequest) (*pb.Image, error) {
	return call(ctx, i.s, i.s.Image().GetImage, m)
}

func (i imageService) RemoveImage(ctx context.Context, m *pb.RemoveImageRequest) (*pb.RemoveImageResponse, error) {
	return call(ctx, i.s, i.s.Image().RemoveImage, m)
}

func (i imageService) CollectImages(ctx context.Context, m *pb.CollectImagesRequest) (*pb.CollectImagesResponse, error) {
	return call(ctx, i.s, i.s.Image().CollectImages, m)
}
