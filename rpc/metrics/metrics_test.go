package metrics_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/soulbox/soulbox/rpc/metrics"
	"github.com/soulbox/soulbox/sandbox"
)

type fakeEngine struct{}

func (fakeEngine) Counts() sandbox.Counts {
	return sandbox.Counts{Admission: sandbox.AdmissionStats{Queued: 3, Waiting: 2, Running: 1, MaxQueue: 9, MaxRunning: 8, Memory: 70, MemoryUse: 60},
		Boxes: 5, Slots: 4, Ready: true}
}

// exposed returns what is served after two executions.
func exposed(t *testing.T) string {
	t.Helper()
	m := metrics.New("v1.2.3")
	if err := m.Watch(fakeEngine{}, func() metrics.StoreStats { return metrics.StoreStats{Syncs: 11, Size: 12} }); err != nil {
		t.Fatal(err)
	}
	m.ExecutionDone(sandbox.Observation{Language: "python", Verdict: sandbox.VerdictOK, Queue: time.Millisecond, Start: 20 * time.Millisecond, Run: 3 * time.Second})
	m.ExecutionDone(sandbox.Observation{Language: "c", Verdict: sandbox.VerdictCancelled, Queue: time.Hour})
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("GET /metrics = %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestExposition(t *testing.T) {
	text := exposed(t)
	for _, want := range []string{
		"soulbox_ready 1\n", "soulbox_queue_places 3\n", "soulbox_queue_waiting 2\n", "soulbox_queue_places_max 9\n", "soulbox_executions_running 1\n",
		"soulbox_executions_running_max 8\n", "soulbox_memory_promised_bytes 60\n", "soulbox_memory_budget_bytes 70\n", "soulbox_sandboxes 5\n",
		"soulbox_slots 4\n", "soulbox_store_syncs_total 11\n", "soulbox_store_size_bytes 12\n",
		`soulbox_executions_total{language="python",verdict="ok"} 1`, `soulbox_executions_total{language="c",verdict="cancelled"} 1`,
		`soulbox_execution_queue_seconds_bucket{le="0.001"} 1`, `soulbox_execution_queue_seconds_bucket{le="+Inf"} 2`,
		`soulbox_execution_start_seconds_bucket{language="python",le="0.02"} 1`, `soulbox_execution_run_seconds_sum{language="python"} 3`,
		`version="v1.2.3"`, "\ngo_goroutines ", "\nprocess_open_fds ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the exposition has no %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, `_run_seconds_count{language="c"}`) {
		t.Error("a program that never ran has a run time")
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
}

// row is a series as the document describes it.
type row struct {
	Type   string
	Labels []string
}

// The document describes every series that there is, and no other.
func TestDocument(t *testing.T) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(exposed(t)))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]row{}
	for name, f := range families {
		if group, _, _ := strings.Cut(name, "_"); group != "soulbox" {
			got[group+"_*"] = row{}
			continue
		}
		got[name] = row{strings.ToLower(dto.MetricType_name[int32(f.GetType())]), labels(f.GetMetric()[0])}
	}
	b, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]row{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_*]+)` \\| ([a-z]*) ?\\| (.*?) ?\\| .+\\|$").FindAllStringSubmatch(string(b), -1) {
		r := row{Type: m[2]}
		for _, l := range regexp.MustCompile("`([a-z]+)`").FindAllStringSubmatch(m[3], -1) {
			r.Labels = append(r.Labels, l[1])
		}
		slices.Sort(r.Labels)
		want[m[1]] = r
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/metrics.md and what is exposed differ (-document +exposed):\n%s", diff)
	}
}

func labels(m *dto.Metric) (names []string) {
	for _, l := range m.GetLabel() {
		names = append(names, l.GetName())
	}
	slices.Sort(names)
	return names
}
