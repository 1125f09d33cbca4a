package agent

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/soulbox/soulbox/sandbox/agent/agentpb"
)

const (
	chunkSize  = 32 << 10
	chunkQueue = 8
)

// chunk is a piece of output.
type chunk struct {
	data   []byte
	stderr bool
}

func (c chunk) response() *agentpb.RunResponse {
	data := &agentpb.ProcessEvent_DataEvent{Output: &agentpb.ProcessEvent_DataEvent_Stdout{Stdout: c.data}}
	if c.stderr {
		data.Output = &agentpb.ProcessEvent_DataEvent_Stderr{Stderr: c.data}
	}
	return processEvent(&agentpb.ProcessEvent{Event: &agentpb.ProcessEvent_Data{Data: data}})
}

// output reads a program's two pipes into one queue, up to a number of bytes.
type output struct {
	chunks  chan chunk // closed when both pipes have ended
	exceed  func()     // called once, when the program wrote more than it may
	readers sync.WaitGroup
	pipes   [2]*os.File // stdout, stderr

	mu       sync.Mutex
	left     int64
	exceeded bool
	cut      [2]bool // stdout, stderr: not all of it was delivered
}

// newOutput starts to read. The pipes are non-blocking, and closed at their end.
func newOutput(stdout, stderr *os.File, limit int64, exceed func()) *output {
	o := &output{chunks: make(chan chunk, chunkQueue), exceed: exceed, pipes: [2]*os.File{stdout, stderr}, left: limit}
	for i := range o.pipes {
		o.readers.Go(func() { o.read(i) })
	}
	return o
}

// closeWhenRead closes chunks after the last of them.
func (o *output) closeWhenRead() {
	o.readers.Wait()
	close(o.chunks)
}

// drain says that nothing of the slot lives any more: what is in the pipes is the rest, even if somebody outside the
// slot, to whom the program sent it, still holds the other end.
func (o *output) drain() {
	for _, p := range o.pipes {
		_ = p.SetReadDeadline(time.Unix(1, 0)) // closed already: nothing to wake
	}
}

func (o *output) read(i int) {
	p := o.pipes[i]
	defer p.Close()
	buf := make([]byte, chunkSize)
	for {
		n, err := p.Read(buf)
		o.take(i, buf[:n])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			o.readRest(i, buf)
			return
		} else if err != nil {
			return
		}
	}
}

// readRest reads without waiting.
func (o *output) readRest(i int, buf []byte) {
	raw, err := o.pipes[i].SyscallConn()
	if err != nil {
		return
	}
	for more := true; more; {
		n := 0
		err := raw.Control(func(fd uintptr) {
			n, err = unix.Read(int(fd), buf)
		})
		more = err == nil && n > 0 && o.take(i, buf[:n])
	}
}

// take delivers what the limit leaves of b; false: nothing more will be.
func (o *output) take(i int, b []byte) bool {
	if len(b) == 0 {
		return true
	}
	o.mu.Lock()
	keep := min(int64(len(b)), o.left)
	o.left -= keep
	over := keep < int64(len(b))
	first := over && !o.exceeded
	if over {
		o.exceeded, o.cut[i] = true, true
	}
	o.mu.Unlock()
	if keep > 0 {
		o.chunks <- chunk{data: append([]byte(nil), b[:keep]...), stderr: i == 1}
	}
	if first {
		o.exceed()
	}
	return !over
}

// feed writes a program's stdin. What the program does not read is lost with it.
func feed(ctx context.Context, w *os.File, data []byte) {
	stop := context.AfterFunc(ctx, func() { _ = w.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	_, _ = w.Write(data)
	_ = w.Close()
}

func processEvent(e *agentpb.ProcessEvent) *agentpb.RunResponse {
	return &agentpb.RunResponse{Event: &agentpb.RunResponse_Process{Process: e}}
}
