package main

import (
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRow(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer string
		err    error
		want   row
	}{
		{
			name: "right, with a compile step",
			answer: `{"verdict":"VERDICT_OK","stdout":"1229 primes below 10000, the last is 9973\n","usage":{"wallTime":"0.010s",
				"userTime":"0.004s","systemTime":"0.001s","peakMemoryBytes":"1048576"},"compile":{"verdict":"VERDICT_OK",
				"usage":{"wallTime":"1s","userTime":"0.5s","systemTime":"0.250s","peakMemoryBytes":"9"}}}`,
			want: row{language: "c", verdict: "ok", output: "1229 primes below 10000, the last is 9973", wall: 1010 * time.Millisecond,
				cpu: 755 * time.Millisecond, peak: 1 << 20, right: true},
		},
		{
			name:   "another answer",
			answer: `{"verdict":"VERDICT_OK","stdout":"no\n"}`,
			want:   row{language: "c", verdict: "ok", output: "no"},
		},
		{
			name:   "the right answer and a crash",
			answer: `{"verdict":"VERDICT_SIGNALLED","stdout":"1229 primes below 10000, the last is 9973\n"}`,
			want:   row{language: "c", verdict: "signalled", output: "1229 primes below 10000, the last is 9973"},
		},
		{
			name:   "a compiler's complaint",
			answer: `{"verdict":"VERDICT_COMPILE_ERROR","compile":{"stderr":"primes.c:1:1: \n  error"}}`,
			want:   row{language: "c", verdict: "compile_error", output: "primes.c:1:1: error"},
		},
		{
			name: "no answer",
			err:  errors.New("503 Service Unavailable: c is not installed"),
			want: row{language: "c", verdict: "-", output: "503 Service Unavailable: c is not installed"},
		},
	} {
		x := &execution{}
		if tc.answer != "" {
			if err := json.Unmarshal([]byte(tc.answer), x); err != nil {
				t.Fatalf("%s: %v", tc.name, err)
			}
		}
		if diff := cmp.Diff(tc.want, newRow("c", x, tc.err), cmp.AllowUnexported(row{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

func TestProgramsExist(t *testing.T) {
	for _, p := range programs() {
		if _, err := os.Stat("../../docs/examples/" + p.file); err != nil {
			t.Error(err)
		}
	}
}
