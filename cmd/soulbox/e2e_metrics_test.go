package main_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestMetrics: what ran is counted, what is gone is not, and Prometheus needs a key, which it sends as bearer.
func TestMetrics(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	if a := d.do(t, http.MethodGet, "/metrics", nil, "X-API-Key", ""); a.Status != http.StatusUnauthorized {
		t.Errorf("GET /metrics without a key: %d, want 401", a.Status)
	}
	d.execute(t, object{"language": "python", "code": "print(1)"})
	d.execute(t, object{"language": "python", "code": "while True: pass", "limits": object{"wallTime": "0.2s"}})
	// What a program ran in is taken apart after its answer.
	var text string
	d.eventually("no sandbox is left", answerWait, func() bool {
		a := d.do(t, http.MethodGet, "/metrics", nil, "X-API-Key", "", "Authorization", "Bearer "+testKey)
		a.want(t, http.StatusOK)
		text = string(a.Body)
		return strings.Contains(text, "\nsoulbox_sandboxes 0\n")
	})
	for _, want := range []string{
		`soulbox_executions_total{language="python",verdict="ok"} 1`, `soulbox_executions_total{language="python",verdict="time_limit"} 1`,
		`soulbox_execution_queue_seconds_count 2`, `soulbox_execution_start_seconds_count{language="python"} 2`,
		`soulbox_execution_run_seconds_count{language="python"} 2`, `soulbox_execution_run_seconds_bucket{language="python",le="0.1"} 1`,
		"\nsoulbox_slots 0\n", "\nsoulbox_executions_running 0\n", "\nsoulbox_queue_places 0\n", "\nsoulbox_ready 1\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the metrics:\n%s", want, text)
		}
	}
	for _, not := range []string{"\nsoulbox_store_syncs_total 0\n", "\nsoulbox_store_size_bytes 0\n"} {
		if strings.Contains(text, not) {
			t.Errorf("%q is in the metrics of a daemon that stored executions", not)
		}
	}

	a := d.do(t, http.MethodPost, "/v1/sandboxes", object{})
	a.want(t, http.StatusOK)
	if text := string(d.get(t, "/metrics")); !strings.Contains(text, "\nsoulbox_sandboxes 1\n") || !strings.Contains(text, "\nsoulbox_slots 1\n") {
		t.Errorf("with a sandbox that lives on there is not one sandbox with one slot in the metrics:\n%s", text)
	}
	d.do(t, http.MethodDelete, "/v1/sandboxes/"+decode[result](t, a.Body).ID, nil).want(t, http.StatusOK)
	d.eventually("the sandbox is gone", answerWait, func() bool {
		text := string(d.get(t, "/metrics"))
		return strings.Contains(text, "\nsoulbox_sandboxes 0\n") && strings.Contains(text, "\nsoulbox_slots 0\n")
	})
}
