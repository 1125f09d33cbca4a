package sandbox

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPolicyFor(t *testing.T) {
	p := Policy{
		Max: Limits{Memory: 100 << 20, Processes: 8}, Default: Limits{Output: 9}, Languages: []string{"python"}, Runtimes: []string{"runc"},
		Keys: map[string]KeyPolicy{
			"0a": {Max: Limits{Memory: 50 << 20}, Languages: []string{}, MaxRunning: 1, MaxQueue: 2},
			"ci": {Max: Limits{Memory: 200 << 20, WallTime: time.Second}, Languages: []string{"c", "go"}},
		},
	}
	all := Rules{Max: p.Max, Default: p.Default, Languages: p.Languages, Runtimes: p.Runtimes}
	changed := func(change func(*Rules)) Rules {
		r := all
		change(&r)
		return r
	}
	byID := changed(func(r *Rules) {
		r.Max.Memory, r.Languages, r.ClientBounds = 50<<20, []string{}, ClientBounds{MaxRunning: 1, MaxQueue: 2}
	})
	byName := changed(func(r *Rules) { r.Max.Memory, r.Max.WallTime, r.Languages = 200<<20, time.Second, []string{"c", "go"} })
	for _, c := range []struct {
		name, id, key string
		want          Rules
		names         bool
	}{
		{"nobody", "", "", all, false},
		{"a key without an entry", "0b", "laptop", all, false},
		{"by id", "0a", "", byID, true},
		{"by name", "0b", "ci", byName, true},
		{"the id comes first", "0a", "ci", byID, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.want, p.For(c.id, c.key)); d != "" {
				t.Errorf("For(%q, %q) (-want +got):\n%s", c.id, c.key, d)
			}
			if got := p.Names(c.id, c.key); got != c.names {
				t.Errorf("Names(%q, %q) = %t, want %t", c.id, c.key, got, c.names)
			}
		})
	}
}

func TestRulesAllow(t *testing.T) {
	for _, c := range []struct {
		name          string
		rules         Rules
		reason, field string
	}{
		{"all", Rules{}, "", ""},
		{"both", Rules{Languages: []string{"c", "python"}, Runtimes: []string{"runc"}}, "", ""},
		{"language", Rules{Languages: []string{"c"}}, "LANGUAGE_NOT_ALLOWED", "language"},
		{"no language", Rules{Languages: []string{}}, "LANGUAGE_NOT_ALLOWED", "language"},
		{"runtime", Rules{Runtimes: []string{"runsc"}}, "RUNTIME_NOT_ALLOWED", "runtime"},
		{"language before runtime", Rules{Languages: []string{}, Runtimes: []string{}}, "LANGUAGE_NOT_ALLOWED", "language"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.rules.Allow("python", "runc")
			if (err == nil) != (c.reason == "") {
				t.Fatalf("Allow = %v, want reason %q", err, c.reason)
			}
			if err != nil && (err.Kind != KindDenied || err.Reason != c.reason || err.Field != c.field) {
				t.Errorf("Allow = kind %d, %s, field %q, want %d, %s, %q", err.Kind, err.Reason, err.Field, KindDenied, c.reason, c.field)
			}
		})
	}
}

func TestRulesUnder(t *testing.T) {
	r := Rules{Under: []ImageRuntime{{"registry.example/*", "a"}, {"tools", "b"}, {"*", "c"}}}
	for _, c := range []struct{ asked, image, want string }{
		{"", "registry.example/x:1", "a"},
		{"", "tools:latest", "b"},
		{"", "host", "c"},
		{"mine", "tools:latest", "mine"},
	} {
		if got := r.under(c.asked, c.image); got != c.want {
			t.Errorf("asked for %q on %s: %q, want %q", c.asked, c.image, got, c.want)
		}
	}
	if got := (&Rules{}).under("", "host"); got != "" {
		t.Errorf("without a choice: %q, want the default", got)
	}
}

func TestRulesResolve(t *testing.T) {
	r := Rules{Max: Limits{Memory: 100, Processes: 4}, Default: Limits{Memory: 50, Output: 7}}
	got, clamped := r.resolve(Limits{Processes: 9}, Limits{Memory: 80, Processes: 3, Output: 1, Inodes: 2})
	want := Limits{Memory: 50, Processes: 4, Output: 7, Inodes: 2}
	if got != want || len(clamped) != 1 || clamped[0] != LimitProcesses {
		t.Errorf("resolve = %+v, %v, want %+v and processes clamped", got, clamped, want)
	}
}

// TestEngineRules: what could never be admitted is no maximum, and a key is known by its name too.
func TestEngineRules(t *testing.T) {
	asked := 0
	e := &Engine{admit: NewAdmission(AdmissionOptions{Memory: 1 << 30}), o: Options{ClientName: func(id string) string {
		asked++
		return map[string]string{"0a": "ci"}[id]
	}}}
	e.live.Store(newLive(Policy{}, 0))
	if got, want := e.rules("0a").Max.Memory, int64(1<<30-boxReserve); got != want || asked != 0 {
		t.Errorf("rules without a policy: memory %d, %d names asked for, want %d, none", got, asked, want)
	}
	keys := map[string]KeyPolicy{"ci": {Max: Limits{Memory: 2 << 30}, MaxQueue: 3}, "0b": {MaxQueue: 4}}
	e.Configure(Live{Policy: Policy{Max: Limits{Memory: 64 << 20}, Keys: keys}})
	delete(keys, "0b") // the engine has its own
	for client, want := range map[string]ClientBounds{"0a": {MaxQueue: 3}, "0b": {MaxQueue: 4}, "0c": {}} {
		if got := e.rules(client).ClientBounds; got != want {
			t.Errorf("rules(%s) = %+v, want %+v", client, got, want)
		}
	}
	if got, want := e.rules("0a").Max.Memory, int64(1<<30-boxReserve); got != want {
		t.Errorf("memory of a key that may have more than there is: %d, want %d", got, want)
	}
}

func TestAdmissionClientBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAdmission(AdmissionOptions{MaxRunning: 3, MaxQueue: 20, Client: func(client string) ClientBounds {
			if client == "small" {
				return ClientBounds{MaxRunning: 1, MaxQueue: 2}
			}
			return ClientBounds{}
		}})
		l := &line{places: map[string]*Place{}}
		l.join(t, a, "small", "s1", 1)
		l.join(t, a, "small", "s2", 1)
		l.join(t, a, "small", "s3", 1)
		_, err := a.Reserve("small")
		if e := wantReason(t, err, KindExhausted, "KEY_QUEUE_FULL"); e.RetryAfter <= 0 {
			t.Errorf("RetryAfter = %v, want some", e.RetryAfter)
		}
		// However often others go first, nobody waits for one that its own bound holds back.
		l.join(t, a, "big", "b0", 1)
		want := []string{"s1", "b0"}
		for i := range 2 * maxBypass {
			name := string(rune('a' + i))
			l.join(t, a, "big", name, 1)
			want = append(want, name)
			l.release(t, want[len(want)-2])
		}
		l.want(t, want...)
		l.release(t, "s1", want[len(want)-1])
		l.release(t, "s2")
		l.release(t, "s3")
		wantEmpty(t, a)
	})
}

func TestAdmissionResize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAdmission(AdmissionOptions{MaxRunning: 1, MaxQueue: 4})
		l := &line{places: map[string]*Place{}}
		for _, name := range []string{"1", "2", "3", "4"} {
			l.join(t, a, "x", name, 1)
		}
		l.want(t, "1")
		a.Resize(4, 3)
		synctest.Wait()
		if s := a.Stats(); s.Running != 3 || s.Queued != 1 {
			t.Fatalf("after one place became three: %+v, want 3 running and 1 queued", s)
		}
		a.Resize(1, 1) // what runs goes on
		_, err := a.Reserve("x")
		wantReason(t, err, KindExhausted, "QUEUE_FULL")
		l.release(t, "1", "2")
		if s := a.Stats(); s.Running != 1 || s.Queued != 1 {
			t.Errorf("after three places became one: %+v, want 1 running and 1 queued", s)
		}
		l.release(t, "3", "4")
		wantEmpty(t, a)
	})
}
