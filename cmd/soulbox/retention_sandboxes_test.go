package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/cmd/soulbox/config"
	"github.com/soulbox/soulbox/sandbox"
)

// TestSweepSandboxes: of each tenant the oldest by their ends go, and none that lives.
func TestSweepSandboxes(t *testing.T) {
	for _, c := range []struct {
		name  string
		rules config.Retention
		a, b  []int // the ends that are left
	}{
		{"nothing", config.Retention{MaxBytes: 1, OutputMaxAge: 1}, []int{0, 1, 2, 3, 4}, []int{0, 1}},
		{"age", config.Retention{MaxAge: 3 * time.Second}, []int{2, 3, 4}, nil},
		{"count", config.Retention{MaxCount: 2}, []int{3, 4}, []int{0, 1}},
		{"many batches", config.Retention{MaxCount: 1}, []int{4}, []int{1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := vfs.NewMem()
			j, s := openJournal(t, fs)
			put := func(tenant string, n int, state sandbox.SandboxState) {
				box := &sandbox.Sandbox{ID: sandbox.ID(fmt.Sprintf("%s%04d%d", tenant, n, state)), Tenant: tenant, State: state, CreatedAt: instant(-n)}
				if state.Final() {
					box.EndedAt = instant(n)
				}
				if err := j.PutSandbox(t.Context(), box); err != nil {
					t.Fatal(err)
				}
			}
			for _, n := range []int{3, 0, 4, 1, 2} { // not in order
				put("a", n, sandbox.SandboxStopped)
				put("a", n, sandbox.SandboxRunning)
			}
			put("b", 0, sandbox.SandboxFailed)
			put("b", 1, sandbox.SandboxFailed)
			if c.name == "many batches" {
				for n := range 2*sweepRows + 5 {
					put("a", n-10*sweepRows, sandbox.SandboxStopped)
				}
			}
			if err := sweeper(j, c.rules, instant(5)).sweepSandboxes(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			j, _ = openJournal(t, fs)
			for tenant, want := range map[string][]int{"a": c.a, "b": c.b} {
				var got []int
				lives := 0
				boxes, _, err := j.ListSandboxes(t.Context(), tenant, sandbox.SandboxFilter{}, 1000, "")
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range boxes {
					if !s.State.Final() {
						lives++
						continue
					}
					got = append(got, int(s.EndedAt.Sub(instant(0))/time.Second))
				}
				slices.Sort(got)
				if diff := cmp.Diff(want, got); diff != "" || tenant == "a" && lives != 5 {
					t.Errorf("left of %s: %d that live, ends (-want +got):\n%s", tenant, lives, diff)
				}
			}
		})
	}
}
