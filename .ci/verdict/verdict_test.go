package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTally(t *testing.T) {
	for _, tc := range []struct {
		name           string
		input          string
		passed, failed int
		skipped        []string
		prints         []string
	}{
		{
			name: "passes and skips",
			input: `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"noise\n"}
{"Action":"pass","Package":"p","Test":"TestA/sub","Elapsed":0.1}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0.1}
{"Action":"skip","Package":"p","Test":"TestB","Elapsed":0}
{"Action":"pass","Package":"p","Elapsed":0.2}
`,
			passed: 2, skipped: []string{"p TestB"}, prints: []string{"ok   p (0.2 s, 3 tests)"},
		},
		{
			name: "a failed test shows its output",
			input: `{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Test":"TestA","Output":"got 1, want 2\n"}
{"Action":"fail","Package":"p","Test":"TestA","Elapsed":0.1}
{"Action":"fail","Package":"p","Elapsed":0.2}
`,
			failed: 1, prints: []string{"FAIL p TestA", "got 1, want 2", "FAIL p (0.2 s)"},
		},
		{
			name: "a package that does not compile",
			input: `{"ImportPath":"p [p.test]","Action":"build-output","Output":"x.go:1:1: syntax error\n"}
{"ImportPath":"p [p.test]","Action":"build-fail"}
{"Action":"start","Package":"p"}
{"Action":"fail","Package":"p","Elapsed":0,"FailedBuild":"p [p.test]"}
`,
			failed: 1, prints: []string{"syntax error"},
		},
		{
			name: "a panic",
			input: `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"panic: oh\n"}
{"Action":"fail","Package":"p","Elapsed":0.2}
`,
			failed: 1, prints: []string{"panic: oh"},
		},
		{
			name:   "an end in the middle",
			input:  `{"Action":"start","Package":"p"}` + "\n" + `{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0.1}`,
			passed: 1, failed: 1, prints: []string{"FAIL p: its tests did not end"},
		},
		{
			name:   "lines that are no events",
			input:  "go: downloading x\n",
			prints: []string{"go: downloading x"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out bytes.Buffer
			got := newTally(&out)
			if err := got.read(strings.NewReader(tc.input)); err != nil {
				t.Fatal(err)
			}
			if got.passed != tc.passed || got.failed != tc.failed {
				t.Errorf("read = %d passed, %d failed, want %d and %d", got.passed, got.failed, tc.passed, tc.failed)
			}
			var skipped []string
			for _, s := range got.skipped {
				skipped = append(skipped, s.String())
			}
			if diff := cmp.Diff(tc.skipped, skipped); diff != "" {
				t.Errorf("skipped (-want +got):\n%s", diff)
			}
			for _, want := range tc.prints {
				if !strings.Contains(out.String(), want) {
					t.Errorf("printed %q, want it to contain %q", out.String(), want)
				}
			}
		})
	}
}

func TestParseAllowed(t *testing.T) {
	const list = listBegin + "\n%s\n" + listEnd
	for _, tc := range []struct {
		name, text string
		want       allowed
		fails      bool
	}{
		{"no list", "# Readme", nil, true},
		{"no end", listBegin, nil, true},
		{"empty", strings.Replace(list, "%s", "None.", 1), allowed{}, false},
		{"one", strings.Replace(list, "%s", "- `rootless p TestA`: needs root", 1), allowed{"rootless p TestA": true}, false},
		{"no reason", strings.Replace(list, "%s", "- `rootless p TestA`", 1), nil, true},
		{"no part", strings.Replace(list, "%s", "- `p TestA`: needs root", 1), nil, true},
	} {
		got, err := parseAllowed(tc.text)
		if (err != nil) != tc.fails {
			t.Errorf("%s: error %v, want one: %t", tc.name, err, tc.fails)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}
