package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/cover"
)

func TestStatements(t *testing.T) {
	profiles, err := cover.ParseProfilesFromReader(strings.NewReader(`mode: atomic
github.com/soulbox/soulbox/store/a.go:1.1,2.2 3 0
github.com/soulbox/soulbox/store/a.go:1.1,2.2 3 7
github.com/soulbox/soulbox/store/a.go:3.1,4.2 1 0
github.com/soulbox/soulbox/rpc/soulboxpb/a.pb.go:1.1,2.2 100 0
github.com/soulbox/soulbox/.ci/pack/main.go:1.1,2.2 100 0
example.com/other/a.go:1.1,2.2 100 0
`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := statements(profiles, func(file string) (bool, error) { return strings.HasSuffix(file, ".pb.go"), nil })
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]count{"store": {covered: 3, all: 4}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(count{})); diff != "" {
		t.Errorf("statements (-want +got):\n%s", diff)
	}
	if got := want["store"].percent(); got != 75 {
		t.Errorf("percent = %v, want 75", got)
	}
}
