package client

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
)

// FuzzEnd: whatever an agent that was taken over says of a run's end, its facts are within bounds and can be added up.
func FuzzEnd(f *testing.F) {
	for _, e := range []*agentpb.End{
		{}, {WaitStatus: 9, WallNanos: 1e9, MaxRssBytes: 1 << 20}, {WallNanos: -1, UserNanos: 1 << 62, TreeUserNanos: 1<<63 - 1, DiskUsed: -1},
		{StartErrno: -2, StartStep: "exec"}, {StartErrno: 1 << 30, WaitStatus: 1<<32 - 1},
	} {
		b, err := proto.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e := &agentpb.End{}
		if proto.Unmarshal(b, e) != nil {
			return
		}
		x := exitFrom(e)
		sum := x.Wall + x.User + x.System + x.TreeUser + x.TreeSystem
		if x.Wall < 0 || x.User < 0 || x.System < 0 || x.TreeUser < 0 || x.TreeSystem < 0 || sum < 0 {
			t.Errorf("exitFrom(%v): times %+v", e, x)
		}
		for _, n := range []int64{x.MaxRSS, x.PeakPolled, x.PeakProcesses, x.DiskUsed, x.DiskTotal, x.InodesUsed, x.InodesTotal} {
			if n < 0 {
				t.Errorf("exitFrom(%v): %+v", e, x)
			}
		}
		if (x.StartErrno != 0) != (e.GetStartErrno() != 0) || (x.StartError() == "") != (x.StartErrno == 0) || len(x.StartStep) > 64 {
			t.Errorf("exitFrom(%v): start %d, %q", e, x.StartErrno, x.StartError())
		}
		if !x.Status.Exited() && !x.Status.Signaled() && !x.Status.Stopped() && !x.Status.Continued() && x.Status != 0 && x.Status&0x7f != 0x7f {
			t.Errorf("exitFrom(%v): status %#x", e, x.Status)
		}
	})
}

// FuzzEvent: whatever an agent sends while a program runs is an event, and its output is counted.
func FuzzEvent(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &response{}
		if proto.Unmarshal(b, m) != nil {
			return
		}
		ev, n := eventFrom(m)
		if n != int64(len(ev.Stdout)+len(ev.Stderr)) || ev.Started && n > 0 {
			t.Errorf("eventFrom(%v) = %+v, %d", m, ev, n)
		}
		if u := ev.Usage; u != nil && (u.Wall < 0 || u.User < 0 || u.System < 0 || u.Memory < 0) {
			t.Errorf("eventFrom(%v): usage %+v", m, u)
		}
	})
}
