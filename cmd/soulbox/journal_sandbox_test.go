package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/store"
)

func fullSandbox() *sandbox.Sandbox {
	at := func(s int64) time.Time { return time.Unix(1700000000+s, 123456789).UTC() }
	return &sandbox.Sandbox{
		ID: "iaaaaaaaaaaaaaaaaaaaa", Tenant: "default", Client: "c\xff", RequestID: "r\xff\x00", BodyHash: []byte{0, 255},
		Image: "host", ImageDigest: "sha256:0", Command: []string{"a", "\xff", ""}, Runtime: "runc", State: sandbox.SandboxPaused, Reason: "why", Labels: map[string]string{"a": "b", "": ""},
		Metadata: map[string]string{"m": "\u00fc"}, Env: map[string]string{"A": "\xff\n", "B": ""}, User: "u\xff", Workdir: "/w\xff",
		Limits: sandbox.SandboxLimits{Memory: 1, Processes: 2, OpenFiles: 3, Disk: 4}, Clamped: []sandbox.LimitName{sandbox.LimitDisk},
		Timeout: 5, IdleTimeout: 6, DeadlineAt: at(1), CreatedAt: at(2), StartedAt: at(3), PausedAt: at(4), EndedAt: at(5), Block: 7,
		Log: []sandbox.LogEntry{{At: at(6), Level: sandbox.LogWarn, Message: "one"}, {At: at(7), Level: sandbox.LogInfo, Message: "\u00fc"}},
	}
}

// TestJournalKeepsSandboxes: every field is there after a restart, but for the block, which the record of the box has.
func TestJournalKeepsSandboxes(t *testing.T) {
	noZero(t, reflect.ValueOf(*fullSandbox()), "Sandbox")
	ctx := t.Context()
	for name, want := range map[string]*sandbox.Sandbox{"full": fullSandbox(), "zero": {ID: "iaaaaaaaaaaaaaaaaaaaa", Tenant: "default"}} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			j, s := openJournal(t, fs)
			if err := errors.Join(j.PutSandbox(ctx, want), s.Close()); err != nil {
				t.Fatal(err)
			}
			j, _ = openJournal(t, fs)
			got, err := j.GetSandbox(ctx, want.Tenant, want.ID)
			want.Block = 0
			if err != nil || !reflect.DeepEqual(want, got) {
				t.Errorf("GetSandbox after a restart: %v (-want +got):\n%s", err, cmp.Diff(want, got))
			}
		})
	}
}

func TestJournalFindsSandboxes(t *testing.T) {
	ctx := t.Context()
	j, _ := openJournal(t, vfs.NewMem())
	s := fullSandbox()
	if err := j.PutSandbox(ctx, s); err != nil {
		t.Fatal(err)
	}
	for name, get := range map[string]func() (*sandbox.Sandbox, error){
		"another tenant":            func() (*sandbox.Sandbox, error) { return j.GetSandbox(ctx, "other", s.ID) },
		"a request of a tenant":     func() (*sandbox.Sandbox, error) { return j.SandboxByRequest(ctx, "other", s.Client, s.RequestID) },
		"a request of a client":     func() (*sandbox.Sandbox, error) { return j.SandboxByRequest(ctx, s.Tenant, "other", s.RequestID) },
		"a request in other pieces": func() (*sandbox.Sandbox, error) { return j.SandboxByRequest(ctx, s.Tenant, s.Client+s.RequestID, "") },
	} {
		if got, err := get(); !errors.Is(err, sandbox.ErrNotFound) || got != nil {
			t.Errorf("%s: %v, %v, want ErrNotFound", name, got, err)
		}
	}
	if got, err := j.SandboxByRequest(ctx, s.Tenant, s.Client, s.RequestID); err != nil || got.ID != s.ID {
		t.Errorf("SandboxByRequest = %v, %v", got, err)
	}
	living := func() (ids []sandbox.ID) {
		t.Helper()
		if err := j.LivingSandboxes(ctx, func(s *sandbox.Sandbox) error { ids = append(ids, s.ID); return nil }); err != nil {
			t.Error(err)
		}
		return ids
	}
	for state, lives := range map[sandbox.SandboxState]bool{sandbox.SandboxCreating: true, sandbox.SandboxRunning: true, sandbox.SandboxPaused: true,
		sandbox.SandboxStopped: false, sandbox.SandboxFailed: false} {
		s.State = state
		if err := j.PutSandbox(ctx, s); err != nil {
			t.Fatal(err)
		}
		if got := living(); slices.Contains(got, s.ID) != lives {
			t.Errorf("in state %d LivingSandboxes = %v", state, got)
		}
	}
	// A request id leads to the newest sandbox that it made.
	again := fullSandbox()
	again.ID = "ibbbbbbbbbbbbbbbbbbbb"
	if err := j.PutSandbox(ctx, again); err != nil {
		t.Fatal(err)
	}
	if got, err := j.SandboxByRequest(ctx, s.Tenant, s.Client, s.RequestID); err != nil || got.ID != again.ID {
		t.Errorf("SandboxByRequest of two = %v, %v, want the newer", got, err)
	}
}

func TestJournalPagesSandboxes(t *testing.T) {
	ctx := t.Context()
	j, _ := openJournal(t, vfs.NewMem())
	var want []sandbox.ID
	for i := range 40 {
		s := &sandbox.Sandbox{ID: sandbox.ID(fmt.Sprintf("i%020d", i)), Tenant: "default", Image: "host", State: sandbox.SandboxState(2 + i%3),
			Labels: map[string]string{"odd": fmt.Sprint(i % 2)}, CreatedAt: time.Unix(int64(i), 0)}
		if err := j.PutSandbox(ctx, s); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 && i%2 == 1 {
			want = append([]sandbox.ID{s.ID}, want...)
		}
	}
	f := sandbox.SandboxFilter{States: []sandbox.SandboxState{sandbox.SandboxRunning}, Labels: map[string]string{"odd": "1"}}
	for _, size := range []int{1, 3, 100} {
		var got []sandbox.ID
		for cursor := ""; ; {
			page, next, err := j.ListSandboxes(ctx, "default", f, size, cursor)
			if err != nil || len(page) > size {
				t.Fatalf("a page of %d: %v", len(page), err)
			}
			for _, s := range page {
				got = append(got, s.ID)
			}
			if cursor = next; next == "" {
				break
			}
			if _, _, err := j.ListSandboxes(ctx, "default", sandbox.SandboxFilter{Image: "host"}, size, next); sandbox.KindOf(err) != sandbox.KindInvalid {
				t.Errorf("a cursor with other filters: %v, want it refused", err)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("in pages of %d (-want +got):\n%s", size, diff)
		}
	}
}

// TestJournalOfSandboxesSurvivesCrashes: what was acknowledged is there after a power cut.
func TestJournalOfSandboxesSurvivesCrashes(t *testing.T) {
	ctx := context.Background()
	fs := vfs.NewCrashableMem()
	s, err := store.Open("/store", store.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	j, err := newJournal(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	want := fullSandbox()
	for _, state := range []sandbox.SandboxState{sandbox.SandboxCreating, sandbox.SandboxRunning, sandbox.SandboxStopped} {
		want.State = state
		if err := j.PutSandbox(ctx, want); err != nil {
			t.Fatal(err)
		}
		after, _ := openJournal(t, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0}))
		if got, err := after.GetSandbox(ctx, want.Tenant, want.ID); err != nil || got.State != state {
			t.Errorf("after a crash: %+v, %v, want state %d", got, err, state)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
