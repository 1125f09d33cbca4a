package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aclements/go-moremath/stats"
)

// ColdOptions configure [Cold]. The zero value is usable.
type ColdOptions struct {
	Programs []Program // default: Hello
	Runs     int       // measured runs of each program on each side; default 20
}

func (o ColdOptions) withDefaults() ColdOptions {
	if o.Programs == nil {
		o.Programs = Hello()
	}
	if o.Runs <= 0 {
		o.Runs = 20
	}
	return o
}

// Times are durations in milliseconds, in the order they were measured, and what they come to.
type Times struct {
	Median  float64   `json:"medianMs"`
	P90     float64   `json:"p90Ms"`
	P99     float64   `json:"p99Ms"`
	Samples []float64 `json:"samplesMs"`
}

// summarize returns the quantiles of durations.
func summarize(durations []time.Duration) Times {
	t := Times{Samples: make([]float64, 0, len(durations))}
	for _, d := range durations {
		t.Samples = append(t.Samples, float64(d)/float64(time.Millisecond))
	}
	if len(t.Samples) == 0 {
		return t // a quantile of nothing is NaN, which JSON has not
	}
	s := stats.Sample{Xs: slices.Sorted(slices.Values(t.Samples)), Sorted: true}
	t.Median, t.P90, t.P99 = s.Quantile(0.5), s.Quantile(0.9), s.Quantile(0.99)
	return t
}

// ColdResult is one program's cost.
type ColdResult struct {
	Language string  `json:"language"`
	Program  string  `json:"program"`
	Sandbox  Times   `json:"sandbox"` // from request to answer
	Bare     Times   `json:"bare"`    // the same commands on the host
	Ratio    float64 `json:"ratio"`   // of the medians, sandbox to bare
}

// Cold runs each program Runs times through the daemon and on the host, one at a time and in turns, after one run of
// each that does not count (it prepares what is prepared once for a language). Any wrong answer is an error.
func Cold(ctx context.Context, c *Client, o ColdOptions) (_ []ColdResult, err error) {
	o = o.withDefaults()
	host, err := newBare()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	var results []ColdResult
	for _, p := range o.Programs {
		var sandbox, bare []time.Duration
		for i := range o.Runs + 1 {
			inside, outside, err := pair(ctx, c, host, p)
			if err != nil {
				return nil, fmt.Errorf("run %d of %s: %w", i, p.Language, err)
			}
			if i > 0 {
				sandbox, bare = append(sandbox, inside), append(bare, outside)
			}
		}
		r := ColdResult{Language: p.Language, Program: p.Name, Sandbox: summarize(sandbox), Bare: summarize(bare)}
		r.Ratio = r.Sandbox.Median / r.Bare.Median
		results = append(results, r)
	}
	return results, nil
}

// pair runs p once through the daemon and once on the host and returns the time of each.
func pair(ctx context.Context, c *Client, host *bare, p Program) (inside, outside time.Duration, err error) {
	start := time.Now()
	x, err := c.Execute(ctx, p)
	inside = time.Since(start)
	if err != nil {
		return 0, 0, err
	}
	if err := p.check(x); err != nil {
		return 0, 0, err
	}
	outside, err = host.run(ctx, p)
	return inside, outside, err
}
