package debian

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCommand(t *testing.T) {
	now := time.Unix(1_700_000_000, 5)
	for _, c := range []struct {
		name    string
		o       Options
		tail    []string // suite, output and mirror
		include string
		epoch   string
		expired bool // what was signed may have run out
	}{
		{"nothing", Options{}, []string{"bookworm", "-"}, "passwd,sudo", "1700000000", false},
		{"packages", Options{Suite: "trixie", Packages: []string{"python3", "g++", "sudo"}}, []string{"trixie", "-"}, "g++,passwd,python3,sudo", "1700000000", false},
		{"a time", Options{Snapshot: "20260102T030405Z"}, []string{"bookworm", "-", "http://snapshot.debian.org/archive/debian/20260102T030405Z/"}, "passwd,sudo", "1767323045", true},
		{"a mirror", Options{Mirror: "http://mirror.example/debian"}, []string{"bookworm", "-", "http://mirror.example/debian"}, "passwd,sudo", "1700000000", false},
		{"a time of a mirror", Options{Mirror: "http://mirror.example/{snapshot}", Snapshot: "20260102T030405Z"},
			[]string{"bookworm", "-", "http://mirror.example/20260102T030405Z"}, "passwd,sudo", "1767323045", true},
	} {
		args, env, err := c.o.Command(now)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if diff := cmp.Diff(c.tail, args[len(args)-len(c.tail):]); diff != "" {
			t.Errorf("%s: the end of the command (-want +got):\n%s", c.name, diff)
		}
		if !slices.Contains(args, "--include="+c.include) || !slices.Contains(env, "SOURCE_DATE_EPOCH="+c.epoch) {
			t.Errorf("%s: %q with %q, want it to include %s at %s", c.name, args, env, c.include, c.epoch)
		}
		if got := slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, "Check-Valid-Until") }); got != c.expired {
			t.Errorf("%s: takes what has run out: %t, want %t", c.name, got, c.expired)
		}
	}
	for name, o := range map[string]Options{
		"an option as suite": {Suite: "--mode=x"}, "an option as package": {Packages: []string{"-x"}}, "two packages": {Packages: []string{"a,b"}},
		"a package of one letter": {Packages: []string{"a"}}, "no time": {Snapshot: "yesterday"}, "a pattern": {Packages: []string{"?essential"}},
		"a path": {Packages: []string{"./x.deb"}},
	} {
		if args, _, err := o.Command(now); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: %q, %v, want %v", name, args, err, ErrOptions)
		}
	}
}

func TestListen(t *testing.T) {
	var said []string
	last := listen(strings.NewReader("\n one \n"+strings.Repeat("x", 1000)+"\n"+strings.Repeat("two\n", 30)), func(line string) { said = append(said, line) })
	if len(said) != 32 || said[0] != "one" || len(said[1]) != maxLine || len(last) != lastWords {
		t.Errorf("%d lines, the first %q, the second of %d bytes, %d kept", len(said), said[0], len(said[1]), len(last))
	}
}
