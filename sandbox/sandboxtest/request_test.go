package sandboxtest_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

// TestRequestID sends one request many times at once, before and after it is done.
func TestRequestID(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	r := sandbox.Request{Client: "c", RequestID: "r-1", Language: "python", Code: "print('once')"}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ids := make(chan sandbox.ID, 100)
	for range 5 { // the first round runs it, the others find it
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				h, err := p.Engine.Start(ctx, r)
				if err != nil {
					t.Error(err)
					return
				}
				x, err := h.Wait(ctx)
				if err != nil || string(x.Stdout) != "once\n" {
					t.Errorf("%+v, %v", x, err)
				}
				ids <- h.ID()
			})
		}
		wg.Wait()
	}
	close(ids)
	first := <-ids
	for id := range ids {
		if id != first {
			t.Errorf("execution %s beside %s", id, first)
		}
	}
	other := r
	other.Code = "print('twice')"
	if _, err := p.Engine.Start(ctx, other); sandbox.KindOf(err) != sandbox.KindConflict {
		t.Errorf("another body: %v, want a conflict", err)
	}
	other.Client = "d"
	if h, err := p.Engine.Start(ctx, other); err != nil || h.ID() == first {
		t.Errorf("another client's request: %v, %v, want an execution of its own", h, err)
	}
}

// TestRequestIDAfterRefusal gives a request another try whose first one could not be journalled.
func TestRequestIDAfterRefusal(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	r := sandbox.Request{Client: "c", RequestID: "r-2", Language: "python", Code: "print('late')"}
	p.Journal.Fail(errors.New("disk is gone"))
	if _, err := p.Engine.Start(t.Context(), r); sandbox.KindOf(err) != sandbox.KindInternal {
		t.Errorf("with a failing journal: %v, want internal", err)
	}
	p.Journal.Fail(nil)
	x := execute(t, p, r)
	if string(x.Stdout) != "late\n" {
		t.Errorf("second try: %+v", x)
	}
}
