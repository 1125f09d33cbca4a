package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/soulbox/soulbox/bench"
)

// run runs soulbench against a daemon that answers every PHP program with verdict.
func run(t *testing.T, verdict string, args ...string) (string, error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-API-Key") != "k" {
			http.Error(w, "key", http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(w).Encode(bench.Execution{Verdict: verdict, Stdout: "hello\n"})
	}))
	t.Cleanup(server.Close)
	var out bytes.Buffer
	a := app()
	a.Writer = &out
	err := a.RunContext(t.Context(), append([]string{"soulbench", args[0], "--url", server.URL, "--key", "k"}, args[1:]...))
	return out.String(), err
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.json")
	out, err := run(t, "VERDICT_OK", "load", "--languages", "php", "--n", "7", "--concurrency", "2", "-o", path)
	if err != nil || !strings.Contains(out, "7 right, 0 wrong") {
		t.Errorf("load: %v, %q; want 7 right", err, out)
	}
	if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), `"right": 7`) {
		t.Errorf("load -o: %v, %s; want 7 right", err, text)
	}
	out, err = run(t, "VERDICT_INTERNAL", "load", "--languages", "php", "--n", "2")
	if err == nil || !strings.Contains(out, "0 right, 2 wrong") {
		t.Errorf("load with wrong verdicts: %v, %q; want an error and 2 wrong", err, out)
	}
}

func TestColdReportsWrongAnswers(t *testing.T) {
	if out, err := run(t, "VERDICT_INTERNAL", "cold", "--languages", "php", "--n", "1"); err == nil {
		t.Errorf("cold with wrong verdicts: %q, want an error", out)
	}
}

func TestUnknownLanguage(t *testing.T) {
	for _, command := range []string{"cold", "load"} {
		if _, err := run(t, "VERDICT_OK", command, "--languages", "cobol"); err == nil || !strings.Contains(err.Error(), "cobol") {
			t.Errorf("%s of cobol: %v, want an error that names it", command, err)
		}
	}
}
