package v1

import (
	"context"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/soulbox/soulbox/rpc/errs"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/sandbox"
)

// runRequest is what the two messages that ask for an execution have in common.
type runRequest interface {
	GetLanguage() string
	GetCode() string
	GetFiles() []*pb.File
	GetEntrypoint() string
	GetStdin() string
	GetStdinRaw() []byte
	GetArgs() []string
	GetEnv() map[string]string
	GetLimits() *pb.Limits
	GetImage() string
	GetRuntime() string
	GetOutputs() []string
	GetRequestId() string
}

// request converts m. The place in ctx becomes the request's; on an error it stays in its ticket.
func request(ctx context.Context, c Caller, m runRequest) (sandbox.Request, error) {
	if m.GetCode() != "" && len(m.GetFiles()) > 0 {
		return sandbox.Request{}, errs.Invalid("code", "give either code or files, not both")
	}
	stdin := m.GetStdinRaw()
	if m.GetStdin() != "" {
		if len(stdin) > 0 {
			return sandbox.Request{}, errs.Invalid("stdin", "give either stdin or stdinRaw, not both")
		}
		stdin = []byte(m.GetStdin())
	}
	r := sandbox.Request{
		Tenant:     c.Tenant,
		Client:     c.Client,
		RequestID:  m.GetRequestId(),
		Language:   m.GetLanguage(),
		Code:       m.GetCode(),
		Entrypoint: m.GetEntrypoint(),
		Stdin:      stdin,
		Args:       m.GetArgs(),
		Env:        m.GetEnv(),
		Limits:     limits(m.GetLimits()),
		Image:      m.GetImage(),
		Runtime:    m.GetRuntime(),
		Outputs:    m.GetOutputs(),
	}
	for _, f := range m.GetFiles() {
		r.Files = append(r.Files, sandbox.File{Path: f.GetPath(), Content: f.GetContent(), Mode: f.GetMode()})
	}
	r.Place = takePlace(ctx)
	return r, nil
}

// limits converts l; nil means no limits asked. A duration too long for a [time.Duration] becomes the longest one.
func limits(l *pb.Limits) sandbox.Limits {
	return sandbox.Limits{
		WallTime:  l.GetWallTime().AsDuration(),
		CPUTime:   l.GetCpuTime().AsDuration(),
		Memory:    l.GetMemoryBytes(),
		Processes: int64(l.GetProcesses()),
		OpenFiles: int64(l.GetOpenFiles()),
		FileSize:  l.GetFileBytes(),
		Disk:      l.GetDiskBytes(),
		Inodes:    l.GetInodes(),
		Output:    l.GetOutputBytes(),
	}
}

// limitsProto is the inverse of limits; the zero value means none and gives nil.
func limitsProto(l sandbox.Limits) *pb.Limits {
	if l == (sandbox.Limits{}) {
		return nil
	}
	return &pb.Limits{
		WallTime:    durationpb.New(l.WallTime),
		CpuTime:     durationpb.New(l.CPUTime),
		MemoryBytes: l.Memory,
		Processes:   clampUint32(l.Processes),
		OpenFiles:   clampUint32(l.OpenFiles),
		FileBytes:   l.FileSize,
		DiskBytes:   l.Disk,
		Inodes:      l.Inodes,
		OutputBytes: l.Output,
	}
}

func clampUint32[T int | int64 | uint64](n T) uint32 {
	if n < 0 {
		return 0
	}
	return uint32(min(uint64(n), 1<<32-1))
}
