package sandbox

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// told keeps what an observer was told.
type told struct{ all []Observation }

func (o *told) ExecutionDone(x Observation) { o.all = append(o.all, x) }

func TestObserve(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(1_700_000_000_000 + int64(ms)) }
	x := Execution{Language: "c", CreatedAt: at(0), EndedAt: at(500), Step: Step{Verdict: VerdictOK, Usage: Usage{Wall: 70 * time.Millisecond}}}
	ran := Observation{Language: "c", Verdict: VerdictOK, Queue: 100 * time.Millisecond, Start: 30 * time.Millisecond, Run: 70 * time.Millisecond}
	unstarted := ran
	unstarted.Start = 0
	givenUp := unstarted
	givenUp.Queue = 500 * time.Millisecond
	for _, tt := range []struct {
		name string
		a    *active
		want Observation
	}{
		{"ran", &active{granted: at(100), opened: at(130)}, ran},
		{"had its turn and no sandbox", &active{granted: at(100)}, unstarted},
		{"never had its turn", &active{}, givenUp},
	} {
		o := &told{}
		(&Engine{o: Options{Observer: o}}).observe(tt.a, &x)
		if diff := cmp.Diff([]Observation{tt.want}, o.all); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	(&Engine{}).observe(&active{}, &x) // nobody to tell
}

func TestStatsTellWhoWaits(t *testing.T) {
	a := NewAdmission(AdmissionOptions{MaxRunning: 1, Memory: 10})
	var places []*Place
	for range 3 {
		p, err := a.Reserve("k")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Release)
		places = append(places, p)
	}
	for _, p := range places[:2] { // the first runs, the second waits, the third is still read
		if err := p.enter(1); err != nil {
			t.Fatal(err)
		}
	}
	if s := a.Stats(); s.Running != 1 || s.Waiting != 1 || s.Queued != 2 {
		t.Errorf("Stats = %+v, want 1 running, 1 waiting, 2 queued", s)
	}
}
