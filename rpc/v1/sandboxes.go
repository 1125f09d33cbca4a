package v1

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/soulbox/soulbox/rpc/errs"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/sandbox"
)

// Sandboxes keeps sandboxes that live on; [*sandbox.Sandboxes] is one. Errors are of type [*sandbox.Error].
type Sandboxes interface {
	// Create returns the record of a sandbox once it runs.
	Create(ctx context.Context, r sandbox.CreateSandbox) (sandbox.Sandbox, error)
	// Get returns the record of id as it is now.
	Get(ctx context.Context, tenant string, id sandbox.ID) (sandbox.Sandbox, error)
	// List returns up to limit records after the cursor, newest first, and the next page's cursor, empty at the end.
	List(ctx context.Context, tenant string, f sandbox.SandboxFilter, limit int, cursor string) ([]sandbox.Sandbox, string, error)
	// Delete returns the record of id once nothing of it is left.
	Delete(ctx context.Context, tenant string, id sandbox.ID) (sandbox.Sandbox, error)
	// SetTimeout, SetLimits, Pause and Resume return the record as it is afterwards.
	SetTimeout(ctx context.Context, tenant string, id sandbox.ID, d time.Duration) (sandbox.Sandbox, error)
	SetLimits(ctx context.Context, tenant string, id sandbox.ID, l sandbox.SandboxLimits) (sandbox.Sandbox, error)
	Pause(ctx context.Context, tenant string, id sandbox.ID) (sandbox.Sandbox, error)
	Resume(ctx context.Context, tenant string, id sandbox.ID, timeout *time.Duration) (sandbox.Sandbox, error)
	// Use returns a hold on a sandbox that runs, which the caller closes.
	Use(ctx context.Context, tenant string, id sandbox.ID) (*sandbox.Use, error)
	// Stats and Logs say how it does.
	Stats(ctx context.Context, tenant string, id sandbox.ID) (sandbox.Stats, error)
	Logs(ctx context.Context, tenant string, id sandbox.ID, limit int) ([]sandbox.LogEntry, error)
}

// SandboxService implements soulbox.v1.SandboxService.
type SandboxService struct{ s *Services }

// boxes returns the sandboxes and who asks.
func (b *SandboxService) boxes(ctx context.Context) (Sandboxes, Caller, error) {
	c, err := b.s.caller(ctx)
	if err == nil && b.s.o.Sandboxes == nil {
		err = &sandbox.Error{Op: "v1.Sandboxes", Kind: sandbox.KindUnsupported, Reason: "SANDBOXES_OFF", Msg: "this daemon keeps no sandboxes"}
	}
	return b.s.o.Sandboxes, c, err
}

// use returns a hold on a sandbox of the caller's.
func (b *SandboxService) use(ctx context.Context, id string) (*sandbox.Use, error) {
	boxes, c, err := b.boxes(ctx)
	if err != nil {
		return nil, err
	}
	return boxes.Use(ctx, c.Tenant, sandbox.ID(id))
}

// CreateSandbox makes a sandbox.
func (b *SandboxService) CreateSandbox(ctx context.Context, m *pb.CreateSandboxRequest) (*pb.Sandbox, error) {
	boxes, c, err := b.boxes(ctx)
	if err != nil {
		return nil, err
	}
	r := sandbox.CreateSandbox{
		Tenant: c.Tenant, Client: c.Client, RequestID: m.GetRequestId(), Image: m.GetImage(), Runtime: m.GetRuntime(), Labels: m.GetLabels(),
		Metadata: m.GetMetadata(), Env: m.GetEnv(), User: m.GetUser(), Workdir: m.GetWorkdir(), Limits: sandboxLimits(m.GetLimits()),
		Timeout: optional(m.GetTimeout()), IdleTimeout: m.GetIdleTimeout().AsDuration(),
	}
	return shownSandbox(boxes.Create(ctx, r))
}

// GetSandbox answers a record.
func (b *SandboxService) GetSandbox(ctx context.Context, m *pb.GetSandboxRequest) (*pb.Sandbox, error) {
	boxes, c, err := b.boxes(ctx)
	if err != nil {
		return nil, err
	}
	return shownSandbox(boxes.Get(ctx, c.Tenant, sandbox.ID(m.GetId())))
}

// ListSandboxes answers a page of records.
func (b *SandboxService) ListSandboxes(ctx context.Context, m *pb.ListSandboxesRequest) (*pb.ListSandboxesResponse, error) {
	boxes, c, err := b.boxes(ctx)
	if err != nil {
		return nil, err
	}
	f := sandbox.SandboxFilter{Image: m.GetImage()}
	if f.Labels, err = labels(m.GetLabels()); err != nil {
		return nil, err
	}
	switch {
	case m.GetState() != pb.SandboxState_SANDBOX_STATE_UNSPECIFIED && m.GetAlive():
		return nil, errs.Invalid("alive", "give either state or alive, not both")
	case m.GetState() != pb.SandboxState_SANDBOX_STATE_UNSPECIFIED:
		f.States = []sandbox.SandboxState{sandbox.SandboxState(m.GetState())}
	case m.GetAlive():
		f.States = []sandbox.SandboxState{sandbox.SandboxCreating, sandbox.SandboxRunning, sandbox.SandboxPaused}
	}
	size := int(m.GetPageSize())
	if size == 0 {
		size = defaultPage
	}
	list, next, err := boxes.List(ctx, c.Tenant, f, size, m.GetPageToken())
	if err != nil {
		return nil, err
	}
	out := &pb.ListSandboxesResponse{NextPageToken: next}
	for _, s := range list {
		out.Sandboxes = append(out.Sandboxes, sandboxProto(s))
	}
	return out, nil
}

// labels reads "name=value,name=value".
func labels(text string) (map[string]string, error) {
	if text == "" {
		return nil, nil
	}
	out := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		k, v, ok := strings.Cut(pair, "=")
		if !ok || k == "" {
			return nil, errs.Invalid("labels", `must be "name=value" with commas in between`)
		}
		out[k] = v
	}
	return out, nil
}

// DeleteSandbox ends a sandbox.
func (b *SandboxService) DeleteSandbox(ctx context.Context, m *pb.DeleteSandboxRequest) (*pb.Sandbox, error) {
	boxes, c, err := b.boxes(ctx)
	if err != nil {
		return nil, err
	}
	return shownSandbox(boxes.Delete(ctx, c.Tenant, sandbox.ID(m.GetId())))
}

// SetTimeout gives a sandbox time.
func (b *SandboxService) SetTimeout(ctx context.Context, m *pb.SetTimeoutRequest) (*pb.Sandbox, error) {
	boxes, c, err := b.boxes(ctx)
	if err != nil {
		return nil, err
	}
	return shownSandbox(boxes.SetTimeout(ctx, c.Tenant, sandbox.ID(m.GetId()), m.GetTimeout().AsDuration()))
}

// SetLimits changes limits of a sandbox.
func (b *SandboxService) SetLimits(ctx context.Context, m *pb.SetLimitsRequest) (*pb.Sandbox, error) {
	boxes, c, err := b.boxes(ctx)
	if err != nil {
		return nil, err
	}
	return shownSandbox(boxes.SetLimits(ctx, c.Tenant, sandbox.ID(m.GetId()), sandboxLimits(m.GetLimits())))
}

// PauseSandbox stops a sandbox's processes.
func (b *SandboxService) PauseSandbox(ctx context.Context, m *pb.PauseSandboxRequest) (*pb.Sandbox, error) {
	boxes, c, err := b.boxes(ctx)
	if err != nil {
		return nil, err
	}
	return shownSandbox(boxes.Pause(ctx, c.Tenant, sandbox.ID(m.GetId())))
}

// ResumeSandbox continues a paused sandbox.
func (b *SandboxService) ResumeSandbox(ctx context.Context, m *pb.ResumeSandboxRequest) (*pb.Sandbox, error) {
	boxes, c, err := b.boxes(ctx)
	if err != nil {
		return nil, err
	}
	return shownSandbox(boxes.Resume(ctx, c.Tenant, sandbox.ID(m.GetId()), optional(m.GetTimeout())))
}

// optional keeps an absent duration apart from zero.
func optional(d *durationpb.Duration) *time.Duration {
	if d == nil {
		return nil
	}
	v := d.AsDuration()
	return &v
}

func sandboxLimits(l *pb.SandboxLimits) sandbox.SandboxLimits {
	return sandbox.SandboxLimits{Memory: l.GetMemoryBytes(), Processes: int64(l.GetProcesses()), OpenFiles: int64(l.GetOpenFiles()), Disk: l.GetDiskBytes()}
}

func shownSandbox(s sandbox.Sandbox, err error) (*pb.Sandbox, error) {
	if err != nil {
		return nil, err
	}
	return sandboxProto(s), nil
}

// deadline is when the time of s ends. That of a paused one does not run, and the record's moves when it is resumed.
func deadline(s *sandbox.Sandbox) time.Time {
	if s.State == sandbox.SandboxPaused {
		return time.Time{}
	}
	return s.DeadlineAt
}

// sandboxProto converts a record.
func sandboxProto(s sandbox.Sandbox) *pb.Sandbox {
	return &pb.Sandbox{
		Id: string(s.ID), RequestId: s.RequestID, State: pb.SandboxState(s.State), Reason: valid(s.Reason), Image: valid(s.Image), ImageDigest: s.ImageDigest,
		Command: validAll(s.Command), Runtime: s.Runtime,
		Labels: s.Labels, Metadata: s.Metadata, Env: s.Env, User: valid(s.User), Workdir: valid(s.Workdir),
		Limits: &pb.SandboxLimits{MemoryBytes: s.Limits.Memory, Processes: clampUint32(s.Limits.Processes),
			OpenFiles: clampUint32(s.Limits.OpenFiles), DiskBytes: s.Limits.Disk},
		Clamped: limitNames(s.Clamped), Timeout: durationpb.New(s.Timeout), IdleTimeout: durationpb.New(s.IdleTimeout),
		DeadlineAt: timestamp(deadline(&s)), CreatedAt: timestamp(s.CreatedAt), StartedAt: timestamp(s.StartedAt),
		PausedAt: timestamp(s.PausedAt), EndedAt: timestamp(s.EndedAt),
	}
}
