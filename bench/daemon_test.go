package bench

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// daemon is a fake daemon that answers each program as answer says.
type daemon struct {
	answer func(request) (Execution, int) // an answer and its HTTP status

	mu       sync.Mutex
	requests []request
	active   int
	most     int // requests at once
}

// serve starts a fake daemon and returns its client.
func serve(t *testing.T, d *daemon) *Client {
	t.Helper()
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	return &Client{URL: server.URL + "/", Key: "secret", HTTP: server.Client()}
}

func (d *daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in request
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	switch err := decoder.Decode(&in); {
	case r.Header.Get("X-API-Key") != "secret":
		http.Error(w, "no key", http.StatusUnauthorized)
		return
	case r.Method != http.MethodPost || r.URL.Path != "/v1/executions":
		http.NotFound(w, r)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	d.mu.Lock()
	d.requests = append(d.requests, in)
	d.active++
	d.most = max(d.most, d.active)
	x, status := d.answer(in)
	d.mu.Unlock()
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "0")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(x) // a client that went away is the test's own
	d.mu.Lock()
	d.active--
	d.mu.Unlock()
}

// expected answers a program of list as it should be answered.
func expected(list []Program, in request) Execution {
	for _, p := range list {
		if p.Language == in.Language && p.Code == in.Code && p.Stdin == in.Stdin {
			return Execution{ID: "i", Verdict: p.Verdict, Stdout: p.Stdout}
		}
	}
	return Execution{ID: "i", Verdict: "VERDICT_INTERNAL"}
}
