package metrics

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/soulbox/soulbox/sandbox"
)

// Engine tells its counts; [*sandbox.Engine] is one.
type Engine interface {
	// Counts returns the counts of this moment, at once.
	Counts() sandbox.Counts
}

// StoreStats are the counts of the daemon's store.
type StoreStats struct {
	Syncs int64
	Size  int64 // bytes
}

// figure is one number of an engine's or a store's.
type figure struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(sandbox.Counts, StoreStats) float64
}

// source reads engine and store when Prometheus asks.
type source struct {
	engine  Engine
	store   func() StoreStats
	figures []figure
}

// Watch adds what e and store tell. It is called once.
func (m *Metrics) Watch(e Engine, store func() StoreStats) error {
	if err := m.registry.Register(&source{engine: e, store: store, figures: figures()}); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}

func figures() []figure {
	gauge := func(name, help string, value func(sandbox.Counts) float64) figure {
		return figure{prometheus.NewDesc(name, help, nil, nil), prometheus.GaugeValue, func(s sandbox.Counts, _ StoreStats) float64 { return value(s) }}
	}
	return []figure{
		gauge("soulbox_ready", "1 when programs can be run, as /readyz says.", func(s sandbox.Counts) float64 {
			if s.Ready {
				return 1
			}
			return 0
		}),
		gauge("soulbox_queue_places", "Places taken in the queue, those of requests that are still read included.",
			func(s sandbox.Counts) float64 { return float64(s.Admission.Queued) }),
		gauge("soulbox_queue_waiting", "Executions that wait for their turn.",
			func(s sandbox.Counts) float64 { return float64(s.Admission.Waiting) }),
		gauge("soulbox_queue_places_max", "Places of the queue.",
			func(s sandbox.Counts) float64 { return float64(s.Admission.MaxQueue) }),
		gauge("soulbox_executions_running", "Executions whose turn has come, until their sandboxes are taken apart.",
			func(s sandbox.Counts) float64 { return float64(s.Admission.Running) }),
		gauge("soulbox_executions_running_max", "Executions that may run at once.",
			func(s sandbox.Counts) float64 { return float64(s.Admission.MaxRunning) }),
		gauge("soulbox_memory_promised_bytes", "Sum of the memory limits of all that runs.",
			func(s sandbox.Counts) float64 { return float64(s.Admission.MemoryUse) }),
		gauge("soulbox_memory_budget_bytes", "What that sum may be.",
			func(s sandbox.Counts) float64 { return float64(s.Admission.Memory) }),
		gauge("soulbox_sandboxes", "Sandboxes, those included that are being made or taken apart.",
			func(s sandbox.Counts) float64 { return float64(s.Boxes) }),
		gauge("soulbox_slots", "Slots in sandboxes: one for each step of an execution, one for each sandbox that lives on.",
			func(s sandbox.Counts) float64 { return float64(s.Slots) }),
		{prometheus.NewDesc("soulbox_store_syncs_total", "Syncs of the store's write-ahead log.", nil, nil), prometheus.CounterValue,
			func(_ sandbox.Counts, s StoreStats) float64 { return float64(s.Syncs) }},
		{prometheus.NewDesc("soulbox_store_size_bytes", "Bytes of the store on disk.", nil, nil), prometheus.GaugeValue,
			func(_ sandbox.Counts, s StoreStats) float64 { return float64(s.Size) }},
	}
}

// Describe implements [prometheus.Collector].
func (s *source) Describe(out chan<- *prometheus.Desc) {
	for _, f := range s.figures {
		out <- f.desc
	}
}

// Collect implements [prometheus.Collector].
func (s *source) Collect(out chan<- prometheus.Metric) {
	engine, store := s.engine.Counts(), s.store()
	for _, f := range s.figures {
		out <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(engine, store))
	}
}
