package v1

import (
	"context"

	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/sandbox"
)

// SystemService implements soulbox.v1.SystemService.
type SystemService struct{ s *Services }

// GetSystemInfo answers what this daemon is, can do, and is doing.
func (s *SystemService) GetSystemInfo(ctx context.Context, _ *pb.GetSystemInfoRequest) (*pb.SystemInfo, error) {
	info, err := s.s.o.Engine.Info(ctx)
	if err != nil {
		return nil, err
	}
	out := &pb.SystemInfo{
		Version:         info.Version,
		Features:        features(info.Features),
		Policy:          limitsProto(info.Policy),
		Queued:          clampUint32(info.Queued),
		Running:         clampUint32(info.Running),
		MaxQueue:        clampUint32(info.MaxQueue),
		MaxBoxes:        clampUint32(info.MaxBoxes),
		MemoryBytes:     info.Memory,
		MemoryUsedBytes: info.MemoryUse,
		Goroutines:      clampUint32(info.Goroutines),
	}
	for _, r := range info.Runtimes {
		out.Runtimes = append(out.Runtimes, &pb.Runtime{
			Name: r.Name, Version: r.Version, Rootless: r.Rootless,
			Enforced: limitNames(r.Enforced), Features: features(r.Features),
		})
	}
	for _, w := range info.Warnings {
		out.Warnings = append(out.Warnings, &pb.Warning{Name: w.Name, Text: valid(w.Text)})
	}
	return out, nil
}

func features(fs []sandbox.Feature) []*pb.Feature {
	out := make([]*pb.Feature, len(fs))
	for i, f := range fs {
		out[i] = &pb.Feature{Name: f.Name, Answer: answer(f.Answer), Detail: valid(f.Detail)}
	}
	return out
}

func answer(a sandbox.Answer) pb.Answer {
	switch a {
	case sandbox.AnswerYes:
		return pb.Answer_ANSWER_YES
	case sandbox.AnswerNo:
		return pb.Answer_ANSWER_NO
	case sandbox.AnswerUnknown:
		return pb.Answer_ANSWER_UNKNOWN
	}
	return pb.Answer_ANSWER_UNSPECIFIED
}
