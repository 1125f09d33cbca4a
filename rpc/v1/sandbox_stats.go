package v1

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/sandbox"
)

const (
	// statsRest is the rest between two answers of a stream that does not say.
	statsRest = time.Second
	// minStatsRest is the least that can be asked for.
	minStatsRest = 100 * time.Millisecond
	// defaultLogs is how many entries are answered when the client does not say.
	defaultLogs = 100
)

// GetStats answers what a sandbox uses now.
func (b *SandboxService) GetStats(ctx context.Context, m *pb.GetStatsRequest) (*pb.SandboxStats, error) {
	boxes, c, err := b.boxes(ctx)
	if err != nil {
		return nil, err
	}
	st, err := boxes.Stats(ctx, c.Tenant, sandbox.ID(m.GetId()))
	if err != nil {
		return nil, err
	}
	return statsProto(st), nil
}

// StreamStats tells what a sandbox uses, again and again.
func (b *SandboxService) StreamStats(ctx context.Context, m *pb.StreamStatsRequest, out *connect.ServerStream[pb.SandboxStats]) error {
	return b.Stats(ctx, m, out.Send)
}

// Stats calls send with what a sandbox uses until the sandbox ends or the client goes away.
func (b *SandboxService) Stats(ctx context.Context, m *pb.StreamStatsRequest, send func(*pb.SandboxStats) error) error {
	rest := m.GetInterval().AsDuration()
	if rest == 0 {
		rest = statsRest
	}
	tick := time.NewTicker(max(rest, minStatsRest))
	defer tick.Stop()
	for first := true; ; first = false {
		st, err := b.GetStats(ctx, &pb.GetStatsRequest{Id: m.GetId()})
		switch {
		case err != nil && !first && sandbox.KindOf(err) == sandbox.KindConflict:
			return nil // it has ended
		case err != nil:
			return err
		}
		if err := send(st); err != nil {
			return clientGone("send stats", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return clientGone("send stats", context.Cause(ctx))
		}
	}
}

// clientGone is the error of a client that is gone or too slow; it is not this daemon that failed.
func clientGone(attempt string, err error) error {
	return connect.NewError(connect.CodeCanceled, fmt.Errorf("%s: %w", attempt, err))
}

func statsProto(s sandbox.Stats) *pb.SandboxStats {
	return &pb.SandboxStats{
		At: timestamppb.New(s.At), UserTime: durationpb.New(s.CPUUser), SystemTime: durationpb.New(s.CPUSystem), MemoryBytes: s.Memory,
		PeakMemoryBytes: s.MemoryPeak, MemoryLimitBytes: s.MemoryLimit, Processes: s.Processes, ProcessLimit: s.ProcessLimit,
		DiskBytes: s.Disk, DiskLimitBytes: s.DiskLimit, OomKills: s.OOMKills,
	}
}

// GetLogs answers what happened to a sandbox.
func (b *SandboxService) GetLogs(ctx context.Context, m *pb.GetLogsRequest) (*pb.GetLogsResponse, error) {
	boxes, c, err := b.boxes(ctx)
	if err != nil {
		return nil, err
	}
	limit := int(m.GetLimit())
	if limit == 0 {
		limit = defaultLogs
	}
	entries, err := boxes.Logs(ctx, c.Tenant, sandbox.ID(m.GetId()), limit)
	if err != nil {
		return nil, err
	}
	out := &pb.GetLogsResponse{}
	for _, e := range entries {
		out.Entries = append(out.Entries, &pb.LogEntry{At: timestamppb.New(e.At), Level: pb.LogLevel(e.Level), Message: valid(e.Message)})
	}
	return out, nil
}
