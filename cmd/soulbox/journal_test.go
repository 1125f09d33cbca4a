package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/store"
)

func openJournal(t *testing.T, fs vfs.FS) (*journal, *store.Store) {
	t.Helper()
	s, err := store.Open("/store", store.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	j, err := newJournal(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return j, s
}

func fullStep(exit int) sandbox.Step {
	return sandbox.Step{
		Verdict: sandbox.VerdictMemoryLimit, ExitCode: exit, Signal: "SIGKILL", Stdout: []byte("a\x00\xff\xfe\xed\xa0\x80"),
		Stderr: []byte{}, StdoutTruncated: true, StderrTruncated: true,
		Usage:     sandbox.Usage{Wall: 1, User: 2, System: 3, PeakMemory: 1 << 60},
		LimitsHit: []sandbox.LimitName{sandbox.LimitMemory, sandbox.LimitDisk},
	}
}

func fullExecution() *sandbox.Execution {
	compile := fullStep(-1)
	return &sandbox.Execution{
		ID: "iaaaaaaaaaaaaaaaaaaaa", Tenant: "default", Client: "c\xff", RequestID: "r\xff\x00", BodyHash: []byte{0, 255},
		Language: "python", Image: "i\xff", ImageDigest: "sha256:0", Runtime: "runc", State: sandbox.StateDone, Step: fullStep(1), Compile: &compile,
		Limits:  sandbox.Limits{WallTime: 1, CPUTime: 2, Memory: 3, Processes: 4, OpenFiles: 5, FileSize: 6, Disk: 7, Inodes: 8, Output: 9},
		Clamped: []sandbox.LimitName{sandbox.LimitOutput}, Unenforced: []sandbox.LimitName{sandbox.LimitInodes},
		Outputs: []sandbox.File{{Path: "a\xff/b", Content: []byte{0xff, 0}, Mode: 0o755}, {Path: "empty", Content: []byte{}}, {Path: "nil"}},
		Detail:  "lost \xff", OutputsExpired: true,
		CreatedAt: time.Unix(1700000000, 123456789).UTC(), StartedAt: time.Unix(1700000001, 1).UTC(), EndedAt: time.Unix(1700000002, 999999999).UTC(),
	}
}

// noZero fails for fields that the test's record leaves empty, so that a new field cannot be forgotten.
func noZero(t *testing.T, v reflect.Value, path string) {
	t.Helper()
	for i := range v.NumField() {
		f, name := v.Field(i), path+"."+v.Type().Field(i).Name
		if f.IsZero() {
			t.Errorf("%s is not set: give it a value here and a place in the record", name)
		} else if f.Kind() == reflect.Struct && f.Type() != reflect.TypeFor[time.Time]() {
			noZero(t, f, name)
		}
	}
}

func TestJournalKeepsEveryByte(t *testing.T) {
	noZero(t, reflect.ValueOf(*fullExecution()), "Execution")
	empty := fullExecution()
	empty.Clamped, empty.Unenforced, empty.Outputs, empty.Stdout, empty.Compile = []sandbox.LimitName{}, nil, []sandbox.File{}, nil, nil
	ctx := context.Background()
	for name, want := range map[string]*sandbox.Execution{
		"full": fullExecution(), "empty and nil": empty,
		"zero": {ID: "iaaaaaaaaaaaaaaaaaaaa", Tenant: "default"},
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			j, s := openJournal(t, fs)
			if err := j.Put(ctx, want); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			j, _ = openJournal(t, fs)
			got, err := j.Get(ctx, want.Tenant, want.ID)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(want, got) {
				t.Errorf("Get after a restart (-want +got):\n%s", cmp.Diff(want, got))
			}
		})
	}
}

func TestJournalLookups(t *testing.T) {
	j, _ := openJournal(t, vfs.NewMem())
	ctx, x := context.Background(), fullExecution()
	x.State = sandbox.StateQueued
	if err := j.Put(ctx, x); err != nil {
		t.Fatal(err)
	}
	for name, get := range map[string]func() (*sandbox.Execution, error){
		"id of another tenant":   func() (*sandbox.Execution, error) { return j.Get(ctx, "other", x.ID) },
		"request of a tenant":    func() (*sandbox.Execution, error) { return j.ByRequest(ctx, "other", x.Client, x.RequestID) },
		"request of a client":    func() (*sandbox.Execution, error) { return j.ByRequest(ctx, x.Tenant, "other", x.RequestID) },
		"parts in another split": func() (*sandbox.Execution, error) { return j.ByRequest(ctx, x.Tenant, x.Client+x.RequestID, "") },
	} {
		if got, err := get(); !errors.Is(err, sandbox.ErrNotFound) || got != nil {
			t.Errorf("%s: %v, %v, want nil, ErrNotFound", name, got, err)
		}
	}
	if got, err := j.ByRequest(ctx, x.Tenant, x.Client, x.RequestID); err != nil || got.ID != x.ID {
		t.Errorf("ByRequest = %v, %v, want %s", got, err, x.ID)
	}
	unfinished := func() (ids []sandbox.ID) {
		if err := j.Unfinished(ctx, func(x *sandbox.Execution) error { ids = append(ids, x.ID); return nil }); err != nil {
			t.Error(err)
		}
		return ids
	}
	if got := unfinished(); len(got) != 1 {
		t.Errorf("Unfinished = %v, want %s", got, x.ID)
	}
	// The engine finishes what it finds while it looks.
	if err := j.Unfinished(ctx, func(x *sandbox.Execution) error { x.State = sandbox.StateDone; return j.Put(ctx, x) }); err != nil {
		t.Error(err)
	}
	if got := unfinished(); got != nil {
		t.Errorf("Unfinished = %v after all were done", got)
	}
	stop := &sandbox.Error{Op: "test", Msg: "stop"}
	x.State = sandbox.StateRunning
	if err := errors.Join(j.Put(ctx, x)); err != nil {
		t.Fatal(err)
	}
	if err := j.Unfinished(ctx, func(*sandbox.Execution) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Unfinished = %v, want fn's error", err)
	}
	if _, _, err := j.List(ctx, x.Tenant, sandbox.Filter{}, 1, "nonsense"); sandbox.KindOf(err) != sandbox.KindInvalid {
		t.Errorf("List with a bad cursor = %v, want KindInvalid", err)
	}
}

func TestJournalPagesUnderInserts(t *testing.T) {
	j, _ := openJournal(t, vfs.NewMem())
	ctx, start := context.Background(), time.Unix(1700000000, 0)
	put := func(id string, i int, at time.Time) {
		x := &sandbox.Execution{ID: sandbox.ID(id), Tenant: "default", Language: []string{"python", "go"}[i%2], State: sandbox.State(1 + i%3), CreatedAt: at}
		if err := j.Put(ctx, x); err != nil {
			t.Error(err)
		}
	}
	var want []sandbox.ID
	for i := range 60 {
		put(fmt.Sprintf("old%02d", i), i, start.Add(time.Duration(i)))
		if i%2 == 1 && 1+i%3 == int(sandbox.StateDone) {
			want = append([]sandbox.ID{sandbox.ID(fmt.Sprintf("old%02d", i))}, want...)
		}
	}
	f := sandbox.Filter{State: sandbox.StateDone, Language: "go"}
	var got []sandbox.ID
	page, cursor, err := j.List(ctx, "default", f, 3, "")
	var inserts sync.WaitGroup
	inserts.Go(func() {
		for i := range 60 {
			put(fmt.Sprintf("new%02d", i), i, start.Add(time.Hour+time.Duration(i)))
		}
	})
	for {
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range page {
			got = append(got, x.ID)
		}
		if cursor == "" {
			break
		}
		page, cursor, err = j.List(ctx, "default", f, 3, cursor)
	}
	inserts.Wait()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("pages (-want +got):\n%s", d)
	}
	if page, _, err := j.List(ctx, "other", sandbox.Filter{}, 3, ""); err != nil || len(page) != 0 {
		t.Errorf("List of another tenant = %v, %v", page, err)
	}
}

func TestJournalBoxes(t *testing.T) {
	ctx := t.Context()
	j, _ := openJournal(t, vfs.NewMem())
	boxes := func() (list []sandbox.BoxRecord) {
		t.Helper()
		if err := j.Boxes(ctx, func(b sandbox.BoxRecord) error { list = append(list, b); return nil }); err != nil {
			t.Fatal(err)
		}
		return list
	}
	x := &sandbox.Execution{ID: sandbox.NewID(), Tenant: "t", State: sandbox.StateRunning, CreatedAt: time.Unix(1, 2).UTC()}
	b := sandbox.BoxRecord{ID: sandbox.NewID(), Tenant: "t", Execution: x.ID, Runtime: "runc", Block: 7, CreatedAt: time.Unix(3, 4).UTC()}
	if err := j.OpenBox(ctx, b, x); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]sandbox.BoxRecord{b}, boxes()); diff != "" {
		t.Errorf("Boxes() differs (-want +got):\n%s", diff)
	}
	if got, err := j.Get(ctx, "t", x.ID); err != nil || got.State != sandbox.StateRunning {
		t.Errorf("Get(%s) = %v, %v, want it running", x.ID, got, err)
	}
	other := b
	other.ID = sandbox.NewID()
	y := &sandbox.Execution{ID: sandbox.NewID(), Tenant: "t", State: sandbox.StateRunning}
	if err := j.OpenBox(ctx, other, y); err == nil {
		t.Error("OpenBox gave one block to two sandboxes")
	}
	if _, err := j.Get(ctx, "t", y.ID); sandbox.KindOf(err) != sandbox.KindNotFound {
		t.Errorf("the refused sandbox's execution was stored: %v", err)
	}
	if err := j.CloseBox(ctx, b); err != nil {
		t.Fatal(err)
	}
	if err := j.CloseBox(ctx, b); sandbox.KindOf(err) != sandbox.KindNotFound {
		t.Errorf("second CloseBox = %v, want not found", err)
	}
	if err := j.OpenBox(ctx, other, y); err != nil || len(boxes()) != 1 {
		t.Errorf("OpenBox of the freed block = %v, %d sandboxes", err, len(boxes()))
	}
}
