package sandbox

import (
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLimitFields(t *testing.T) {
	fields := limitFields()
	if n := reflect.TypeFor[Limits]().NumField(); len(fields) != n {
		t.Fatalf("limitFields() lists %d fields of %d", len(fields), n)
	}
	var l Limits
	for i, f := range fields {
		f.set(&l, int64(i)+1)
		if got := reflect.ValueOf(l).Field(i).Int(); got != int64(i)+1 || f.get(&l) != got {
			t.Errorf("field %d (%s): got %d back as %d, want %d", i, f.name, got, f.get(&l), i+1)
		}
	}
}

func TestLimitsResolve(t *testing.T) {
	defaults := Limits{WallTime: 10 * time.Second, CPUTime: 5 * time.Second, Memory: 256 << 20, Processes: 64, Output: 1 << 20}
	policy := Limits{WallTime: time.Minute, Memory: 128 << 20, Processes: 100}
	for _, tc := range []struct {
		name       string
		in, d, p   Limits
		want       Limits
		wantClamps []LimitName
	}{
		{name: "nothing at all"},
		{name: "defaults, one of them above policy", d: defaults, p: policy,
			want: Limits{WallTime: 10 * time.Second, CPUTime: 5 * time.Second, Memory: 128 << 20, Processes: 64, Output: 1 << 20}},
		{name: "no policy", in: Limits{Memory: math.MaxInt64}, d: defaults,
			want: Limits{WallTime: 10 * time.Second, CPUTime: 5 * time.Second, Memory: math.MaxInt64, Processes: 64, Output: 1 << 20}},
		{name: "at policy", in: Limits{WallTime: time.Minute, Memory: 128 << 20, Processes: 100}, p: policy,
			want: Limits{WallTime: time.Minute, Memory: 128 << 20, Processes: 100}},
		{name: "above policy, in order", in: Limits{Processes: 101, Memory: 1 << 40, WallTime: time.Hour, Inodes: 7}, d: defaults, p: policy,
			want:       Limits{WallTime: time.Minute, CPUTime: 5 * time.Second, Memory: 128 << 20, Processes: 100, Inodes: 7, Output: 1 << 20},
			wantClamps: []LimitName{LimitWallTime, LimitMemory, LimitProcesses}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, clamped := tc.in.Resolve(tc.d, tc.p)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("Resolve (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.wantClamps, clamped); diff != "" {
				t.Errorf("Resolve: clamped (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLimitsValidate(t *testing.T) {
	for _, f := range limitFields() {
		var l Limits
		f.set(&l, -1)
		if err := l.Validate("limits"); err == nil || err.Field != "limits."+string(f.name) || err.Kind != KindInvalid {
			t.Errorf("Validate of a negative %s = %v", f.name, err)
		}
	}
	for _, tc := range []struct {
		memory int64
		ok     bool
	}{{0, true}, {1, false}, {MinMemory - 1, false}, {MinMemory, true}, {math.MaxInt64, true}} {
		err := Limits{Memory: tc.memory}.Validate("")
		if (err == nil) != tc.ok || err != nil && err.Field != "memoryBytes" {
			t.Errorf("Validate of %d bytes of memory = %v, want ok %t", tc.memory, err, tc.ok)
		}
	}
}
