package metrics

import (
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/sandbox"
)

// Metrics collects figures. It implements [sandbox.Observer].
type Metrics struct {
	registry   *prometheus.Registry
	executions *prometheus.CounterVec
	queue      prometheus.Histogram
	start      *prometheus.HistogramVec
	run        *prometheus.HistogramVec
}

var _ sandbox.Observer = (*Metrics)(nil)

// New returns the metrics of a daemon of this version, with those of its process and of Go's runtime.
func New(version string) *Metrics {
	language := []string{"language"}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		executions: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "soulbox_executions_total",
			Help: "Executions that are done."}, []string{"language", "verdict"}),
		queue: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "soulbox_execution_queue_seconds",
			Help: "Time from a request until its turn.", Buckets: buckets(time.Millisecond, 5*time.Minute)}),
		start: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "soulbox_execution_start_seconds",
			Help: "Time from an execution's turn until its sandbox is there.", Buckets: buckets(time.Millisecond, 10*time.Second)}, language),
		run: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "soulbox_execution_run_seconds",
			Help: "Wall time of programs.", Buckets: buckets(time.Millisecond, 10*time.Minute)}, language),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "soulbox_build_info", Help: "Constant 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()}})
	info.Set(1)
	m.registry.MustRegister(m.executions, m.queue, m.start, m.run, info, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// buckets returns bounds in seconds from the first to at least the last, three a decade.
func buckets(first, last time.Duration) []float64 {
	var out []float64
	for d := first; ; d *= 10 {
		for _, step := range []time.Duration{1, 2, 5} {
			out = append(out, (d * step).Seconds())
			if d*step >= last {
				return out
			}
		}
	}
}

// ExecutionDone implements [sandbox.Observer].
func (m *Metrics) ExecutionDone(o sandbox.Observation) {
	m.executions.WithLabelValues(o.Language, verdict(o.Verdict)).Inc()
	m.queue.Observe(o.Queue.Seconds())
	if o.Start > 0 {
		m.start.WithLabelValues(o.Language).Observe(o.Start.Seconds())
	}
	if o.Run > 0 {
		m.run.WithLabelValues(o.Language).Observe(o.Run.Seconds())
	}
}

// verdict returns a verdict's name in the API, in Prometheus's spelling.
func verdict(v sandbox.Verdict) string {
	return strings.ToLower(strings.TrimPrefix(pb.Verdict(v).String(), "VERDICT_"))
}

// Handler serves the metrics in Prometheus's formats.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}
