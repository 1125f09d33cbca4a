package sandboxtest_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

// TestLivingSandbox follows one sandbox from its creation to its end.
func TestLivingSandbox(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	boxes, ctx := p.Engine.Sandboxes(), t.Context()
	hour := time.Hour
	asked := sandbox.CreateSandbox{
		Client: "c", Labels: map[string]string{"team": "a"}, Metadata: map[string]string{"note": "\u00fc"}, Env: map[string]string{"GREETING": "hi there"},
		User: "root", Workdir: "/tmp", Limits: sandbox.SandboxLimits{Memory: 128 * mib}, Timeout: &hour, IdleTimeout: 2 * hour,
	}
	b := open(t, p, asked)
	if b.State != sandbox.SandboxRunning || b.Image != "host" || b.Tenant != sandbox.DefaultTenant || b.Limits.Memory != 128*mib ||
		b.Limits.Disk != sandbox.DefaultSandboxLimits().Disk || b.StartedAt.Before(b.CreatedAt) || !b.DeadlineAt.Equal(b.StartedAt.Add(hour)) ||
		b.IdleTimeout != 2*hour || !b.EndedAt.IsZero() || b.Labels["team"] != "a" || b.Metadata["note"] != "\u00fc" {
		t.Errorf("created: %+v", b.Sandbox)
	}
	if got := b.get(); !cmp.Equal(got, b.Sandbox) {
		t.Errorf("Get differs from Create (-created +got):\n%s", cmp.Diff(b.Sandbox, got))
	}
	if got := b.prints("", "id -un; pwd; echo $GREETING; hostname"); got != "root\n/tmp\nhi there\n"+string(b.ID)+"\n" {
		t.Errorf("its processes see %q", got)
	}
	if got := b.prints("user", "id -u; echo $HOME"); got != "1000\n/home/user\n" {
		t.Errorf("the user's processes see %q", got)
	}
	b.prints("", "echo kept > /var/kept")
	if got := b.prints("user", "cat /var/kept"); got != "kept\n" {
		t.Errorf("a file of another process reads %q", got)
	}
	if _, err := boxes.Get(ctx, "another", b.ID); sandbox.KindOf(err) != sandbox.KindNotFound {
		t.Errorf("Get of another tenant = %v, want not found", err)
	}
	_, err := boxes.Delete(ctx, "another", b.ID)
	wantError(t, "Delete of another tenant", err, sandbox.KindNotFound, "SANDBOX_NOT_FOUND", "id")
	gone := b.use().Gone()
	end := b.delete()
	if end.State != sandbox.SandboxStopped || end.Reason == "" || end.EndedAt.Before(end.StartedAt) {
		t.Errorf("deleted: %+v", end)
	}
	select {
	case <-gone:
	default:
		t.Error("Delete returned before the sandbox was gone")
	}
	if again := b.delete(); !cmp.Equal(again, end) {
		t.Errorf("deleted again (-first +second):\n%s", cmp.Diff(end, again))
	}
	checkEnded(t, p, b)
}

// checkEnded tries every operation on a sandbox that has ended.
func checkEnded(t *testing.T, p *sandboxtest.Parts, b *livingBox) {
	t.Helper()
	boxes, ctx := p.Engine.Sandboxes(), t.Context()
	for name, call := range map[string]func(sandbox.ID) error{
		"Use":        func(id sandbox.ID) error { _, err := boxes.Use(ctx, b.Tenant, id); return err },
		"SetTimeout": func(id sandbox.ID) error { _, err := boxes.SetTimeout(ctx, b.Tenant, id, time.Hour); return err },
		"SetLimits": func(id sandbox.ID) error {
			_, err := boxes.SetLimits(ctx, b.Tenant, id, sandbox.SandboxLimits{})
			return err
		},
		"Pause":  func(id sandbox.ID) error { _, err := boxes.Pause(ctx, b.Tenant, id); return err },
		"Resume": func(id sandbox.ID) error { _, err := boxes.Resume(ctx, b.Tenant, id, nil); return err },
		"Stats":  func(id sandbox.ID) error { _, err := boxes.Stats(ctx, b.Tenant, id); return err },
	} {
		wantError(t, name+" of one that has ended", call(b.ID), sandbox.KindConflict, "SANDBOX_ENDED", "id")
		wantError(t, name+" of none", call("i00000000000000000000"), sandbox.KindNotFound, "SANDBOX_NOT_FOUND", "id")
	}
	_, err := boxes.Logs(ctx, b.Tenant, "i00000000000000000000", 1)
	wantError(t, "Logs of none", err, sandbox.KindNotFound, "SANDBOX_NOT_FOUND", "id")
	entries, err := boxes.Logs(ctx, b.Tenant, b.ID, 2)
	if err != nil || len(entries) != 2 || entries[1].Message != "it ended: it was deleted" {
		t.Errorf("Logs of one that has ended = %+v, %v, want the newest two entries, its end last", entries, err)
	}
}

// TestSandboxesAreListed pages through sandboxes under filters.
func TestSandboxesAreListed(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	var want []sandbox.ID // newest first
	for i := range 5 {
		b := open(t, p, sandbox.CreateSandbox{Labels: map[string]string{"odd": fmt.Sprint(i % 2), "n": fmt.Sprint(i)}})
		want = append([]sandbox.ID{b.ID}, want...)
	}
	(&livingBox{sandbox.Sandbox{ID: want[4], Tenant: sandbox.DefaultTenant}, t, p}).delete()
	alive := []sandbox.SandboxState{sandbox.SandboxCreating, sandbox.SandboxRunning, sandbox.SandboxPaused}
	for _, tt := range []struct {
		name   string
		filter sandbox.SandboxFilter
		want   []sandbox.ID
	}{
		{"all", sandbox.SandboxFilter{}, want},
		{"alive", sandbox.SandboxFilter{States: alive}, want[:4]},
		{"stopped", sandbox.SandboxFilter{States: []sandbox.SandboxState{sandbox.SandboxStopped}}, want[4:]},
		{"a label", sandbox.SandboxFilter{Labels: map[string]string{"odd": "1"}}, []sandbox.ID{want[1], want[3]}},
		{"two labels", sandbox.SandboxFilter{Labels: map[string]string{"odd": "1", "n": "3"}}, want[1:2]},
		{"a label with another value", sandbox.SandboxFilter{Labels: map[string]string{"odd": ""}}, nil},
		{"another image", sandbox.SandboxFilter{Image: "debian"}, nil},
	} {
		for _, size := range []int{1, 2, 50} {
			var got []sandbox.ID
			for cursor := ""; ; {
				list, next, err := p.Engine.Sandboxes().List(t.Context(), sandbox.DefaultTenant, tt.filter, size, cursor)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range list {
					got = append(got, s.ID)
				}
				if cursor = next; next == "" {
					break
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s, %d a page: %v, want %v", tt.name, size, got, tt.want)
			}
		}
	}
}

// TestSandboxRequestsAreRefused tries what Create and its kin do not take.
func TestSandboxRequestsAreRefused(t *testing.T) {
	p := sandboxtest.Open(t, func(o *sandbox.Options) { o.Policy.Sandboxes.MaxTimeout = time.Hour })
	boxes := p.Engine.Sandboxes()
	second, day, never := time.Second, 24*time.Hour, time.Duration(0)
	for _, tt := range []struct {
		reason, field string
		r             sandbox.CreateSandbox
	}{
		{"UNKNOWN_IMAGE", "image", sandbox.CreateSandbox{Image: "windows"}},
		{"UNKNOWN_RUNTIME", "runtime", sandbox.CreateSandbox{Runtime: "qemu"}},
		{"TIMEOUT_OUT_OF_RANGE", "timeout", sandbox.CreateSandbox{Timeout: &day}},
		{"TIMEOUT_OUT_OF_RANGE", "timeout", sandbox.CreateSandbox{Timeout: &never}},
		{"TIMEOUT_OUT_OF_RANGE", "idleTimeout", sandbox.CreateSandbox{Timeout: &second, IdleTimeout: -1}},
		{"LIMIT_OUT_OF_RANGE", "limits.memoryBytes", sandbox.CreateSandbox{Timeout: &second, Limits: sandbox.SandboxLimits{Memory: 1}}},
		{"BAD_PATH", "workdir", sandbox.CreateSandbox{Timeout: &second, Workdir: "relative"}},
		{"BAD_NAME", "user", sandbox.CreateSandbox{Timeout: &second, User: "a:b"}},
		{"BAD_VARIABLE", "env", sandbox.CreateSandbox{Timeout: &second, Env: map[string]string{"A=B": ""}}},
		{"BAD_NAME", "labels", sandbox.CreateSandbox{Timeout: &second, Labels: map[string]string{"": "x"}}},
	} {
		_, err := boxes.Create(t.Context(), tt.r)
		wantError(t, fmt.Sprintf("Create(%+v)", tt.r), err, sandbox.KindInvalid, tt.reason, tt.field)
	}
	b := open(t, p, sandbox.CreateSandbox{Timeout: &second})
	_, err := boxes.SetTimeout(t.Context(), b.Tenant, b.ID, day)
	wantError(t, "SetTimeout beyond the policy", err, sandbox.KindInvalid, "TIMEOUT_OUT_OF_RANGE", "timeout")
	if boxes.Live() != 1 {
		t.Errorf("%d sandboxes live, want the one that was not refused", boxes.Live())
	}
}

// TestSandboxIsMadeOnce sends one request eight times at once, again, with another body, and after the sandbox's end.
func TestSandboxIsMadeOnce(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	boxes := p.Engine.Sandboxes()
	r := sandbox.CreateSandbox{Client: "c", RequestID: "one", Labels: map[string]string{"a": "b"}}
	ids := make([]sandbox.ID, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			s, err := boxes.Create(t.Context(), r)
			if err != nil {
				t.Error(err)
			}
			ids[i] = s.ID
		})
	}
	wg.Wait()
	if len(slices.Compact(slices.Clone(ids))) != 1 || boxes.Live() != 1 {
		t.Fatalf("eight requests of one id made %v; %d live", ids, boxes.Live())
	}
	if again := open(t, p, r); again.ID != ids[0] {
		t.Errorf("the request again made %s, want %s", again.ID, ids[0])
	}
	other := r
	other.Labels = map[string]string{"a": "c"}
	_, err := boxes.Create(t.Context(), other)
	wantError(t, "another request of this id", err, sandbox.KindConflict, "REQUEST_ID_REUSED", "requestId")
	stranger := r
	stranger.Client = "d"
	if b := open(t, p, stranger); b.ID == ids[0] {
		t.Error("the same id of another client leads to this client's sandbox")
	}
	ended := (&livingBox{sandbox.Sandbox{ID: ids[0], Tenant: sandbox.DefaultTenant}, t, p}).delete()
	if after := open(t, p, r); after.ID != ids[0] || after.State != ended.State {
		t.Errorf("the request after its sandbox's end = %s in state %d, want the record of %s", after.ID, after.State, ids[0])
	}
}

// TestSandboxesAreAdmitted reaches the bounds of what an operator gives to sandboxes.
func TestSandboxesAreAdmitted(t *testing.T) {
	memory, disk := int64(1<<40), uint64(1<<40)
	p := sandboxtest.Open(t, func(o *sandbox.Options) {
		o.Sandboxes.Max = 2
		o.Sandboxes.MemoryFree, o.Sandboxes.MemoryFloor = func() (int64, error) { return memory, nil }, 1<<30
		o.Sandboxes.DiskFree, o.Sandboxes.DiskFloor = func() (uint64, error) { return disk, nil }, 1<<30
		o.Policy.Sandboxes.Max = sandbox.SandboxLimits{Memory: 64 * mib, Processes: 50}
	})
	boxes := p.Engine.Sandboxes()
	refused := func(reason string) {
		t.Helper()
		_, err := boxes.Create(t.Context(), sandbox.CreateSandbox{})
		wantError(t, "Create", err, sandbox.KindExhausted, reason, "")
	}
	memory = 1<<30 - 1
	refused("MEMORY_FLOOR")
	memory, disk = 1<<40, 1<<30-1
	refused("DISK_LOW")
	disk = 1 << 40
	b := open(t, p, sandbox.CreateSandbox{Limits: sandbox.SandboxLimits{Memory: 512 * mib, Processes: 40}})
	if b.Limits.Memory != 64*mib || b.Limits.Processes != 40 || !slices.Equal(b.Clamped, []sandbox.LimitName{sandbox.LimitMemory}) {
		t.Errorf("limits above the policy are %+v, clamped %v", b.Limits, b.Clamped)
	}
	open(t, p, sandbox.CreateSandbox{})
	refused("TOO_MANY_SANDBOXES")
	b.delete()
	open(t, p, sandbox.CreateSandbox{})
}

// TestCreatorGoesAway leaves while a sandbox is made: with a request id it stays, without nothing does.
func TestCreatorGoesAway(t *testing.T) {
	hang := make(chan struct{})
	p, ids := openIdle(t, func(o *sandbox.Options) { o.Runtime = slowRuntime{o.Runtime, hang} })
	boxes := p.Engine.Sandboxes()
	for _, id := range []string{"", "stays"} {
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := boxes.Create(ctx, sandbox.CreateSandbox{RequestID: id})
			done <- err
		}()
		<-hang
		leave()
		hang <- struct{}{}
		err := <-done
		if id == "" && sandbox.KindOf(err) != sandbox.KindCanceled || id != "" && err != nil {
			t.Errorf("Create of a caller that left, request id %q = %v", id, err)
		}
	}
	eventually(t, patience, "only the sandbox with a request id lives", func() bool { return boxes.Live() == 1 })
	if err := p.Engine.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkIdle(t, p, ids)
}

// slowRuntime says on hang, to who listens, that a sandbox is to be started, and waits there until it may be.
type slowRuntime struct {
	sandbox.Runtime
	hang chan struct{}
}

func (r slowRuntime) Start(ctx context.Context, id sandbox.ID, bundle, stderr string) error {
	select {
	case r.hang <- struct{}{}:
		<-r.hang
	default: // nobody listens: SoulBox's own sandboxes
	}
	return r.Runtime.Start(ctx, id, bundle, stderr)
}
