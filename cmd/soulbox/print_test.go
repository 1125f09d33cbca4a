package main

import (
	"bytes"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

func TestPrintTable(t *testing.T) {
	var out bytes.Buffer
	if err := printTable(&out, painter{}, []string{"ID", "NAME"}, [][]string{{"1", "a"}, {"long", "b\x1b[2J\tc"}, {"2", ""}}); err != nil {
		t.Fatal(err)
	}
	const want = "ID    NAME\n1     a\nlong  b?[2J?c\n2\n"
	if out.String() != want {
		t.Errorf("printTable = %q, want %q", &out, want)
	}
}

func TestFit(t *testing.T) {
	for _, tc := range []struct {
		line  string
		width int
		want  string
	}{
		{"abc", 0, "abc"}, {"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"äöüß", 3, "äö…"}, {"ab", 1, "…"},
	} {
		if got := fit(tc.line, tc.width); got != tc.want {
			t.Errorf("fit(%q, %d) = %q, want %q", tc.line, tc.width, got, tc.want)
		}
	}
}

func TestShowBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 64 << 20: "64 MiB", 5 << 40: "5 TiB", 5 << 50: "5120 TiB"} {
		if got := showBytes(n); got != want {
			t.Errorf("showBytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestShowAge(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for age, want := range map[time.Duration]string{-time.Minute: "0 s", 59 * time.Second: "59 s", 90 * time.Second: "1 min", 26 * time.Hour: "26 h",
		49 * time.Hour: "2 d"} {
		if got := showAge(timestamppb.New(now.Add(-age)), now); got != want {
			t.Errorf("showAge(%v) = %q, want %q", age, got, want)
		}
	}
	if got := showAge(nil, now); got != "-" {
		t.Errorf("showAge(nil) = %q, want -", got)
	}
}
