package sandbox

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

// AdmissionOptions configure [NewAdmission]. The zero value is usable.
type AdmissionOptions struct {
	MaxQueue   int                    // places that are not granted yet; default 256
	MaxRunning int                    // places granted at once; default two per CPU
	Memory     int64                  // bytes that granted places may add up to; default 1 GiB; see MemoryBudget
	DiskFree   func() (uint64, error) // bytes free where the state lies; nil: not checked. Called without a lock held
	DiskFloor  uint64                 // bytes below which Reserve refuses; with DiskFree
	// Client returns the bounds of one client, read when it takes a place; nil: none. Called without a lock held.
	Client func(client string) ClientBounds
}

// ClientBounds are one client's own; zero fields bound nothing.
type ClientBounds struct {
	MaxQueue   int // its places that are not granted yet
	MaxRunning int // its places granted at once
}

func (o AdmissionOptions) withDefaults() AdmissionOptions {
	o.MaxQueue = cmp.Or(max(o.MaxQueue, 0), 256)
	o.MaxRunning = cmp.Or(max(o.MaxRunning, 0), 2*runtime.NumCPU())
	o.Memory = cmp.Or(max(o.Memory, 0), 1<<30)
	return o
}

// MemoryBudget returns the bytes that all running sandboxes may be promised together on a host with total bytes of
// memory of which available are free or can be freed. It leaves the larger of 512 MiB and a fifth of all memory to the
// rest of the host, but where less than twice that is available, it takes half of what there is.
func MemoryBudget(total, available int64) int64 {
	available = max(min(total, available), 0)
	reserve := max(512<<20, total/5)
	return max(available-reserve, available/2)
}

const (
	// A place whose memory does not fit lets this many others of other clients go before it; then all wait for it.
	maxBypass = 8
	// What one execution is taken to last before any has ended.
	firstServiceTime = 2 * time.Second
	// The bounds of a RetryAfter. HTTP knows whole seconds only.
	minRetry, maxRetry = time.Second, time.Minute
)

// Admission decides who runs when: a bounded queue, fair between clients, into a bounded number of runs whose memory
// limits add up to a bounded sum. Clients take turns; within one client, first come is first served.
//
// Its methods can be called from any goroutine. It starts none.
type Admission struct {
	opts AdmissionOptions

	mu       sync.Mutex
	draining bool
	queued   int            // places reserved or waiting
	running  int            // places granted
	memory   int64          // of the places granted
	holding  map[string]int // queued places of each client that has any
	busy     map[string]int // granted places of each client that has any
	turns    []*turn        // clients with waiting places, the next to be served first
	service  time.Duration  // moving average of the time between grant and release
}

// turn is one client's waiting places, the first to be served first. It is never empty.
type turn struct {
	client string
	places []*Place
}

// AdmissionStats are the counts of an [Admission] at one moment.
type AdmissionStats struct {
	Queued     int // places that are not granted yet
	Waiting    int // of them, those whose request is read and that are in line
	Running    int
	MaxQueue   int
	MaxRunning int
	Memory     int64 // bytes that granted places may add up to
	MemoryUse  int64 // bytes that they add up to
	Draining   bool
}

// NewAdmission returns an empty Admission.
func NewAdmission(o AdmissionOptions) *Admission {
	return &Admission{opts: o.withDefaults(), holding: make(map[string]int), busy: make(map[string]int), service: firstServiceTime}
}

// Reserve takes a place in the queue for client, before anything else of its request is read. The caller owns the place
// and must Release it. A full queue, a disk below its floor and draining are an [*Error].
//
// One client cannot shut out the others by filling the queue: a client without a queued place gets one beyond MaxQueue,
// up to a quarter of it.
func (a *Admission) Reserve(client string) (*Place, error) {
	if err := a.checkDisk(); err != nil {
		return nil, err
	}
	var own ClientBounds
	if a.opts.Client != nil {
		own = a.opts.Client(client)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.draining {
		return nil, &Error{Op: "sandbox.Reserve", Kind: KindUnavailable, Reason: "DRAINING", Msg: "shutting down"}
	}
	most := a.opts.MaxQueue
	if a.holding[client] == 0 {
		most += a.opts.MaxQueue / 4
	}
	if a.queued >= most {
		return nil, &Error{Op: "sandbox.Reserve", Kind: KindExhausted, Reason: "QUEUE_FULL",
			Msg: "too many executions are waiting; try again later", RetryAfter: a.retryAfterLocked()}
	}
	if own.MaxQueue > 0 && a.holding[client] >= own.MaxQueue {
		return nil, &Error{Op: "sandbox.Reserve", Kind: KindExhausted, Reason: "KEY_QUEUE_FULL",
			Msg: fmt.Sprintf("this key's own %d places in the queue are taken; try again later", own.MaxQueue), RetryAfter: a.retryAfterLocked()}
	}
	a.queued++
	a.holding[client]++
	return &Place{admission: a, client: client, maxRunning: own.MaxRunning, ready: make(chan struct{})}, nil
}

func (a *Admission) checkDisk() error {
	if a.opts.DiskFree == nil || a.opts.DiskFloor == 0 {
		return nil
	}
	free, err := a.opts.DiskFree()
	if err != nil {
		return &Error{Op: "sandbox.Reserve", Kind: KindInternal, Reason: "DISK_UNKNOWN",
			Msg: "the free disk space could not be read", Err: fmt.Errorf("read free disk space: %w", err)}
	}
	if free < a.opts.DiskFloor {
		return &Error{Op: "sandbox.Reserve", Kind: KindExhausted, Reason: "DISK_LOW",
			Msg: "the server's disk is nearly full", RetryAfter: maxRetry}
	}
	return nil
}

// retryAfterLocked estimates when half of the queue will have been served.
func (a *Admission) retryAfterLocked() time.Duration {
	rounds := max(a.queued/2, 1)/a.opts.MaxRunning + 1
	d := min(a.service, maxRetry) * time.Duration(min(rounds, int(maxRetry/minRetry)*100))
	return min(max(d.Round(time.Second), minRetry), maxRetry)
}

// Resize changes how many places there are; zero means the default. What is queued or runs beyond the new bounds stays.
func (a *Admission) Resize(maxQueue, maxRunning int) {
	o := AdmissionOptions{MaxQueue: maxQueue, MaxRunning: maxRunning}.withDefaults()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.opts.MaxQueue, a.opts.MaxRunning = o.MaxQueue, o.MaxRunning
	a.grantLocked()
}

// Drain makes Reserve refuse from now on. Places that were taken keep their turn.
func (a *Admission) Drain() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.draining = true
}

// Stats returns the counts of this moment.
func (a *Admission) Stats() AdmissionStats {
	a.mu.Lock()
	defer a.mu.Unlock()
	waiting := 0
	for _, t := range a.turns {
		waiting += len(t.places)
	}
	return AdmissionStats{Queued: a.queued, Waiting: waiting, Running: a.running, MaxQueue: a.opts.MaxQueue, MaxRunning: a.opts.MaxRunning,
		Memory: a.opts.Memory, MemoryUse: a.memory, Draining: a.draining}
}

// grantLocked grants all that can be granted. Clients whose next place does not fit keep their turn and are passed over,
// until one of them has been passed over maxBypass times. Clients that have as many as their own bound lets them keep
// their turn too, and nobody waits for them.
func (a *Admission) grantLocked() {
	atBound := func(p *Place) bool { return p.maxRunning > 0 && a.busy[p.client] >= p.maxRunning }
	for a.running < a.opts.MaxRunning {
		i := slices.IndexFunc(a.turns, func(t *turn) bool {
			p := t.places[0]
			return !atBound(p) && (a.memory+p.memory <= a.opts.Memory || p.bypassed >= maxBypass)
		})
		if i < 0 || a.memory+a.turns[i].places[0].memory > a.opts.Memory {
			return
		}
		for _, t := range a.turns[:i] {
			if !atBound(t.places[0]) {
				t.places[0].bypassed++
			}
		}
		t := a.turns[i]
		p := t.places[0]
		a.turns = slices.Delete(a.turns, i, i+1)
		if t.places = t.places[1:]; len(t.places) > 0 {
			a.turns = append(a.turns, t)
		}
		a.leaveQueueLocked(p)
		a.running++
		a.busy[p.client]++
		a.memory += p.memory
		p.state, p.granted = placeGranted, time.Now()
		close(p.ready)
	}
}

func (a *Admission) enqueueLocked(p *Place) {
	i := slices.IndexFunc(a.turns, func(t *turn) bool { return t.client == p.client })
	if i < 0 {
		i = len(a.turns)
		a.turns = append(a.turns, &turn{client: p.client})
	}
	a.turns[i].places = append(a.turns[i].places, p)
}

func (a *Admission) dequeueLocked(p *Place) {
	i := slices.IndexFunc(a.turns, func(t *turn) bool { return t.client == p.client })
	t := a.turns[i]
	t.places = slices.DeleteFunc(t.places, func(q *Place) bool { return q == p })
	if len(t.places) == 0 {
		a.turns = slices.Delete(a.turns, i, i+1)
	}
}

func (a *Admission) leaveQueueLocked(p *Place) {
	a.queued--
	release(a.holding, p.client)
}

// release takes one from a client's count, and forgets a client without any.
func release(counts map[string]int, client string) {
	if counts[client]--; counts[client] == 0 {
		delete(counts, client)
	}
}
