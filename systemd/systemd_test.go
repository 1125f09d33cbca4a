package systemd

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestUnitOf(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Delegation
	}{
		{"", Delegation{}},
		{"0::/\n", Delegation{}},
		{"garbage\n0::/init.scope\n", Delegation{Unit: "init.scope"}},
		{"0::/system.slice/soulbox.service\n", Delegation{Unit: "soulbox.service"}},
		{"0::/system.slice/soulbox.service/daemon\n", Delegation{Unit: "soulbox.service"}},
		{"0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-u0.service\n", Delegation{Unit: "run-u0.service", User: true}},
		{"0::/user.slice/user-1000.slice/session-3.scope\n", Delegation{Unit: "session-3.scope"}},
		{"0::/user.slice/user-1000.slice/user@1000.service/init.scope\n", Delegation{Unit: "init.scope", User: true}},
		{"9:name=systemd:/system.slice/a.service\n4:memory:/b.service\n0::/c.service\n", Delegation{Unit: "a.service"}},
	} {
		if diff := cmp.Diff(tt.want, unitOf(tt.text)); diff != "" {
			t.Errorf("unitOf(%q), -want +got:\n%s", tt.text, diff)
		}
	}
}

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		properties map[string]any
		want       Answer
	}{
		{nil, AnswerNo},
		{map[string]any{"Delegate": false}, AnswerNo},
		{map[string]any{"Delegate": true, "DelegateControllers": []string{"pids", "memory", "cpu", "io"}}, AnswerYes},
		{map[string]any{"Delegate": true, "DelegateControllers": []string{"pids", "memory"}}, AnswerNo},
	} {
		d := Delegation{Unit: "u.service"}
		d.judge(tt.properties)
		if d.Answer != tt.want || d.Detail == "" {
			t.Errorf("judge(%v) = %+v, want %s", tt.properties, d, tt.want)
		}
	}
}

// TestDelegatedHere expects a delegated unit where SOULBOX_VM says that this is the test machine, and an answer with a
// reason everywhere else.
func TestDelegatedHere(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	d := Delegated(ctx)
	if d.Detail == "" {
		t.Errorf("Delegated() = %+v without a detail", d)
	}
	if os.Getenv("SOULBOX_VM") != "" && (d.Answer != AnswerYes || !d.User) {
		t.Errorf("Delegated() = %+v in the test machine, want yes of a user unit", d)
	}
	t.Logf("%+v", d)
}
