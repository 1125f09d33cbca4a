package bench

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"sync"
	"time"
)

// LoadOptions configure [Load]. The zero value is usable.
type LoadOptions struct {
	Programs    []Program     // default: Mixed
	N           int           // executions; default 400
	For         time.Duration // send programs so long instead of N
	Concurrency int           // at once; default 20
	Seed        uint64        // of the order; the same seed gives the same order
}

func (o LoadOptions) withDefaults() LoadOptions {
	if o.Programs == nil {
		o.Programs = Mixed()
	}
	if o.N <= 0 {
		o.N = 400
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 20
	}
	return o
}

// LoadResult is what came of a load.
type LoadResult struct {
	Executions int            `json:"executions"`
	Right      int            `json:"right"`
	Wrong      []string       `json:"wrong"`  // what each wrong answer was
	Failed     []string       `json:"failed"` // what each request without an answer met
	Busy       int            `json:"busy"`   // refusals that were retried
	Verdicts   map[string]int `json:"verdicts"`
	Wall       float64        `json:"wallSeconds"`
	Latency    Times          `json:"latency"` // from first request to answer, retries included
}

// Load sends N programs, Concurrency at a time, in an order drawn from the seed, and judges each answer. It retries
// what the daemon refuses for now until ctx ends; what has no answer by then has failed.
func Load(ctx context.Context, c *Client, o LoadOptions) LoadResult {
	o = o.withDefaults()
	l := &load{client: c, result: LoadResult{Wrong: []string{}, Failed: []string{}, Verdicts: map[string]int{}}}
	jobs := make(chan Program)
	var wg sync.WaitGroup
	start := time.Now()
	for range o.Concurrency {
		wg.Go(func() {
			for p := range jobs {
				l.one(ctx, p)
			}
		})
	}
	for p := range o.order() {
		if o.For > 0 && time.Since(start) >= o.For {
			break
		}
		l.result.Executions++ // nobody else touches it
		jobs <- p
	}
	close(jobs)
	wg.Wait()
	l.result.Wall = time.Since(start).Seconds()
	l.result.Latency = summarize(l.latency)
	return l.result
}

// order yields N programs, all equally often, in an order drawn from the seed; with For, one such order after the other.
func (o LoadOptions) order() iter.Seq[Program] {
	return func(yield func(Program) bool) {
		random := rand.New(rand.NewPCG(o.Seed, 0)) //nolint:gosec // an order that can be repeated, not a secret
		for again := true; again; again = o.For > 0 {
			for _, i := range random.Perm(o.N) {
				if !yield(o.Programs[i%len(o.Programs)]) {
					return
				}
			}
		}
	}
}

// load is a load that runs.
type load struct {
	client *Client

	mu      sync.Mutex
	result  LoadResult
	latency []time.Duration
}

// one runs p and notes what came of it.
func (l *load) one(ctx context.Context, p Program) {
	start := time.Now()
	x, busy, err := l.execute(ctx, p)
	took := time.Since(start)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.result.Busy += busy
	if err != nil {
		l.result.Failed = append(l.result.Failed, p.Name+": "+err.Error())
		return
	}
	l.latency = append(l.latency, took)
	l.result.Verdicts[x.Verdict]++
	if err := p.check(x); err != nil {
		l.result.Wrong = append(l.result.Wrong, err.Error())
		return
	}
	l.result.Right++
}

// execute runs p, waiting as long as the daemon asks to whenever it is busy, and returns how often that was.
func (l *load) execute(ctx context.Context, p Program) (x Execution, busy int, err error) {
	for ; ; busy++ {
		x, err = l.client.Execute(ctx, p)
		refused, ok := errors.AsType[*BusyError](err)
		if !ok {
			return x, busy, err
		}
		again := time.NewTimer(refused.RetryAfter)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return Execution{}, busy, context.Cause(ctx)
		}
	}
}
