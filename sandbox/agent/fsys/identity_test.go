package fsys

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("SOULBOX_CI") != "" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
}

// state is what a thread is, for comparison.
type state struct {
	UID, GID int
	Groups   []int
	Caps     uint32
}

func thread(t *testing.T) state {
	t.Helper()
	r, err := threadRights()
	if err != nil {
		t.Fatal(err)
	}
	return state{r.uid, r.gid, r.groups, r.caps[0].Effective}
}

func TestRun(t *testing.T) {
	needRoot(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := thread(t)
	var uids [3]int
	for _, tc := range []struct {
		id   Identity
		want state
	}{
		{Identity{UID: 1000, GID: 1000, Groups: []uint32{2000, 2001}}, state{1000, 1000, []int{2000, 2001}, 0}},
		{Identity{UID: 1000, GID: 0}, state{1000, 0, nil, 0}},
		{slotRoot(), state{0, 0, nil, fileCaps}},
	} {
		var got state
		err := tc.id.Run(func() error {
			got = thread(t)
			uids[0], uids[1], uids[2] = unix.Getresuid()
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("as %v:\n%s", tc.id, diff)
		}
		if uids != [3]int{} {
			t.Errorf("as %v the thread's uids are %v, by which programs could signal it", tc.id, uids)
		}
		if diff := cmp.Diff(before, thread(t)); diff != "" {
			t.Errorf("after %v this thread changed:\n%s", tc.id, diff)
		}
	}
}

// TestRunThreads runs several users at once and looks at all threads afterwards.
func TestRunThreads(t *testing.T) {
	needRoot(t)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			id := Identity{UID: uint32(1000 + i), GID: uint32(1000 + i)}
			err := id.Run(func() error {
				for range 50 {
					runtime.Gosched()
					if fsuid() != 1000+i || fsgid() != 1000+i {
						return errors.New("the thread is another user's")
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var locked sync.WaitGroup
	release := make(chan struct{})
	for range 40 { // more threads than there are idle ones of any kind
		locked.Add(1)
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			if fsuid() != 0 || fsgid() != 0 {
				t.Errorf("a thread was left as %d:%d", fsuid(), fsgid())
			}
			locked.Done()
			<-release
		})
	}
	locked.Wait()
	close(release)
	wg.Wait()
}

func TestRunPanic(t *testing.T) {
	needRoot(t)
	defer func() {
		if got := recover(); got != "boom" {
			t.Errorf("recovered %v, want boom", got)
		}
	}()
	_ = Identity{UID: 1000, GID: 1000}.Run(func() error { panic("boom") })
}

func TestRunError(t *testing.T) {
	needRoot(t)
	want := errors.New("x")
	if err := (Identity{UID: 1000, GID: 1000}).Run(func() error { return want }); !errors.Is(err, want) {
		t.Errorf("Run = %v, want %v", err, want)
	}
}
