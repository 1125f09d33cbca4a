package cgroups

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSplit(t *testing.T) {
	for _, tt := range []struct{ total, user, system, wantUser, wantSystem time.Duration }{
		{0, 0, 0, 0, 0},
		{7, 0, 0, 7, 0}, // too short for a tick
		{100, 10, 10, 50, 50},
		{90, 20, 10, 60, 30},
		{time.Hour, 0, 10 * time.Millisecond, 0, time.Hour},
	} {
		user, system := split(tt.total, tt.user, tt.system)
		if user != tt.wantUser || system != tt.wantSystem {
			t.Errorf("split(%d, %d, %d) = %d, %d, want %d, %d", tt.total, tt.user, tt.system, user, system, tt.wantUser, tt.wantSystem)
		}
	}
}

func TestLimitsAbove(t *testing.T) {
	reserve := Limits{Memory: 10, Pids: 5}
	for _, tt := range []struct{ in, want Limits }{
		{Limits{}, Limits{}}, // no limit stays none
		{Limits{Memory: 1}, Limits{Memory: 11}},
		{Limits{Memory: 1, Pids: 2, CPUWeight: 3}, Limits{Memory: 11, Pids: 7, CPUWeight: 3}},
	} {
		if diff := cmp.Diff(tt.want, tt.in.above(reserve)); diff != "" {
			t.Errorf("%+v.above(%+v), -want +got:\n%s", tt.in, reserve, diff)
		}
	}
}

func TestKeyed(t *testing.T) {
	const text = "populated 1\nfrozen 0\nbad x\n"
	for _, tt := range []struct {
		key  string
		want int64
		ok   bool
	}{{"populated", 1, true}, {"frozen", 0, true}, {"bad", 0, false}, {"none", 0, false}, {"pop", 0, false}} {
		got, err := keyed(text, tt.key)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("keyed(%q) = %d, %v, want %d, ok %v", tt.key, got, err, tt.want, tt.ok)
		}
	}
}

func TestV2Resources(t *testing.T) {
	d := &v2{control: []string{"cpu", "memory", "pids"}, swap: true}
	r := d.resources(Limits{Memory: 4096, Pids: 3, CPUWeight: 7})
	if *r.Memory.Max != 4096 || *r.Memory.Swap != 0 || *r.Memory.OOMGroup || r.Pids.Max != 3 || *r.CPU.Weight != 7 {
		t.Errorf("limited: %+v %+v %+v", r.Memory, r.Pids, r.CPU)
	}
	r = d.resources(Limits{})
	if *r.Memory.Max != *r.Memory.Swap || r.Pids.Max != -1 || *r.CPU.Weight != 100 {
		t.Errorf("unlimited: %+v %+v %+v", r.Memory, r.Pids, r.CPU)
	}
	if r := (&v2{control: []string{"pids"}}).resources(Limits{Memory: 1}); r.Memory != nil || r.CPU != nil {
		t.Errorf("without memory and cpu: %+v", r)
	}
}

func TestOpenRefusesBadOptions(t *testing.T) {
	for _, o := range []Options{{}, {Name: "a/b"}, {Name: "x", Root: "relative"}, {Name: "x", Reserve: Limits{Memory: -1}}} {
		if _, err := Open(o); err == nil {
			t.Errorf("Open(%+v) succeeded", o)
		}
	}
}

// Where there are no groups everything succeeds and nothing is promised.
func TestModeNone(t *testing.T) {
	h := transcript(t, nonArchive())
	tree, err := Open(Options{Name: "x", host: &h})
	if err != nil {
		t.Fatal(err)
	}
	if tree.Mode() != ModeNone || tree.Enforced() != (Enforced{}) || tree.Reason() == nil || tree.Path() != "" {
		t.Errorf("mode %v, enforced %+v, reason %v, path %q", tree.Mode(), tree.Enforced(), tree.Reason(), tree.Path())
	}
	box, err := tree.Box("b", Limits{Memory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	slot, err := box.Slot("s")
	if err != nil {
		t.Fatal(err)
	}
	if procs, err := slot.Procs(); err != nil || len(procs) != 0 {
		t.Errorf("Procs() = %v, %v", procs, err)
	}
	ctx := t.Context()
	for name, err := range map[string]error{
		"freeze": slot.Freeze(ctx), "thaw": slot.Thaw(ctx), "kill": slot.Kill(ctx), "remove": box.Remove(ctx), "tree": tree.Remove(ctx),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
