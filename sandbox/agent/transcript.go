package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
)

const (
	// keepBytes of what a process printed are kept for those who come later.
	keepBytes = 256 << 10
	// stallTime is how long a follower may take nothing before its process goes on without it.
	stallTime = 30 * time.Second
)

// stream says where a piece of output came from.
type stream int

const (
	streamStdout stream = iota
	streamStderr
	streamPTY
)

// piece is a piece of output; offset counts all bytes before it.
type piece struct {
	offset int64
	from   stream
	data   []byte
}

// event is the piece as envd spells it.
func (p piece) event() *agentpb.ProcessEvent_DataEvent {
	switch p.from {
	case streamStderr:
		return &agentpb.ProcessEvent_DataEvent{Output: &agentpb.ProcessEvent_DataEvent_Stderr{Stderr: p.data}}
	case streamPTY:
		return &agentpb.ProcessEvent_DataEvent{Output: &agentpb.ProcessEvent_DataEvent_Pty{Pty: p.data}}
	}
	return &agentpb.ProcessEvent_DataEvent{Output: &agentpb.ProcessEvent_DataEvent_Stdout{Stdout: p.data}}
}

// transcript keeps the last of what a process printed. Followers see all of it from where they begin: who falls behind
// what is kept makes the process wait, unless it stalls.
type transcript struct {
	mu        sync.Mutex
	pieces    []piece
	end       int64 // bytes printed
	closed    bool
	followers map[*follower]struct{}
	held      *follower     // among followers; kept for the first who begins at 0, see hold
	changed   chan struct{} // closed at every change, and replaced
}

func newTranscript() *transcript {
	return &transcript{followers: map[*follower]struct{}{}, changed: make(chan struct{})}
}

// signalLocked wakes whoever waits for a change.
func (t *transcript) signalLocked() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// startLocked returns the offset of the first byte that is kept.
func (t *transcript) startLocked() int64 {
	if len(t.pieces) == 0 {
		return t.end
	}
	return t.pieces[0].offset
}

// span returns the offsets of the first byte that is kept and of the next that will be printed.
func (t *transcript) span() (start, end int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.startLocked(), t.end
}

// append keeps data, at least a byte, which it takes over. It waits while a follower needs what would have to go.
func (t *transcript) append(from stream, data []byte) {
	timer := time.NewTimer(stallTime)
	defer timer.Stop()
	slowest := int64(-1)
	for {
		t.mu.Lock()
		f := t.slowestLocked()
		if f == nil || t.end+int64(len(data))-f.next <= keepBytes {
			break
		}
		if f.next != slowest { // it reads
			slowest = f.next
			timer.Reset(stallTime)
		}
		changed := t.changed
		t.mu.Unlock()
		select {
		case <-changed:
		case <-timer.C:
			t.drop(f)
		}
	}
	defer t.mu.Unlock()
	t.pieces = append(t.pieces, piece{t.end, from, data})
	t.end += int64(len(data))
	t.trimLocked(keepBytes)
	t.signalLocked()
}

// trimLocked keeps the last n bytes, in whole pieces.
func (t *transcript) trimLocked(n int64) {
	i := 0
	for i < len(t.pieces) && t.end-t.pieces[i].offset > n {
		i++
	}
	t.pieces = slices.Delete(t.pieces, 0, i)
}

func (t *transcript) slowestLocked() *follower {
	var slowest *follower
	for f := range t.followers {
		if slowest == nil || f.next < slowest.next {
			slowest = f
		}
	}
	return slowest
}

// drop ends a follower that stalls.
func (t *transcript) drop(f *follower) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.stalled = true
	delete(t.followers, f)
	if t.held == f {
		t.held = nil
	}
	t.signalLocked()
}

// close says that nothing more will be printed.
func (t *transcript) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.signalLocked()
}

// forget drops all that is kept.
func (t *transcript) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trimLocked(0)
}

// follower reads a transcript from some offset on. It is used by one goroutine and ended by [follower.close].
type follower struct {
	t       *transcript
	next    int64 // offset of what it reads next; guarded by t.mu
	stalled bool  // guarded by t.mu
}

// follow begins at an offset, or at the first byte that is kept beyond it; a negative one is the end.
func (t *transcript) follow(offset int64) *follower {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := t.held; f != nil && offset == 0 {
		t.held = nil
		return f
	}
	if offset < 0 || offset > t.end {
		offset = t.end
	}
	f := &follower{t: t, next: max(offset, t.startLocked())}
	t.followers[f] = struct{}{}
	return f
}

// hold keeps the output from its beginning for one who is about to follow it: until then it is as a follower that takes
// nothing yet.
func (t *transcript) hold() {
	f := t.follow(0)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held = f
}

func (f *follower) close() {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	delete(f.t.followers, f)
	f.t.signalLocked()
}

var errStalled = errors.New("the follower took nothing for too long")

// read returns the next piece. It returns [io.EOF] after the last one, or when until is closed and nothing is left.
func (f *follower) read(ctx context.Context, until <-chan struct{}) (piece, error) {
	for {
		p, changed, err := f.try()
		if changed == nil {
			return p, err
		}
		select {
		case <-changed:
		case <-until:
			if p, changed, err = f.try(); changed == nil {
				return p, err
			}
			return piece{}, io.EOF
		case <-ctx.Done():
			return piece{}, fmt.Errorf("follow output: %w", context.Cause(ctx))
		}
	}
}

// try returns what read does, or a channel that closes when there may be more.
func (f *follower) try() (piece, <-chan struct{}, error) {
	t := f.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.stalled {
		return piece{}, nil, errStalled
	}
	i, _ := slices.BinarySearchFunc(t.pieces, f.next, func(p piece, at int64) int {
		return int(min(max(p.offset+int64(len(p.data))-1-at, -1), 1)) // the piece that holds the byte at
	})
	if i == len(t.pieces) {
		if t.closed {
			return piece{}, nil, io.EOF
		}
		return piece{}, t.changed, nil
	}
	p := t.pieces[i]
	if skip := f.next - p.offset; skip > 0 {
		p.offset, p.data = f.next, p.data[skip:]
	}
	f.next = p.offset + int64(len(p.data))
	t.signalLocked()
	return p, nil, nil
}
