package sandboxtest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/soulbox/soulbox/sandbox"
)

// TestEveryHostCallCanFail fails call 1 to the host of a sandbox's start and end, then 2, and so on, until there are no more:
// for a program, for a sandbox that lives on, and for the three ways in which that ends. Whoever asked is told, nothing of
// the cause is, nothing stays held, and the next one runs. What fails once while it is given back is given back all the same.
func TestEveryHostCallCanFail(t *testing.T) {
	f := &faults{}
	p, ids := openIdle(t, func(o *sandbox.Options) { o.Fault = f.strike })
	execute(t, p, sandbox.Request{Language: "python", Code: "pass"})
	open(t, p, sandbox.CreateSandbox{}).delete()
	checkNoSandbox(t, p, ids)
	warm := settled(t, p, nil)
	for name, run := range map[string]func(t *testing.T) error{
		"program": func(t *testing.T) error {
			h, err := p.Engine.Start(t.Context(), sandbox.Request{Client: "c", Language: "python", Code: "print('ran')"})
			if err != nil {
				return err
			}
			x, err := h.Wait(t.Context())
			if err != nil || x.Verdict == sandbox.VerdictOK {
				return err
			}
			if x.Verdict != sandbox.VerdictInternal || x.Detail == "" || strings.Contains(x.Detail, "injected") {
				t.Errorf("it ended as %v, detail %q", x.Verdict, x.Detail)
			}
			return errInjected
		},
		"sandbox": func(t *testing.T) error {
			s, err := p.Engine.Sandboxes().Create(t.Context(), sandbox.CreateSandbox{})
			if err != nil {
				if k := sandbox.KindOf(err); k != sandbox.KindInternal {
					t.Errorf("Create = %v (%v), want internal", err, k)
				}
				return err
			}
			b := &livingBox{s, t, p}
			if got := b.prints("", "echo ran"); got != "ran\n" {
				t.Errorf("it printed %q", got)
			}
			if s := b.delete(); s.State != sandbox.SandboxStopped {
				t.Errorf("deleted: %+v", s)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			var calls []string
			for n := 1; n < 100; n++ {
				f.arm(n)
				err := run(t)
				checkNoSandbox(t, p, ids)
				call := f.disarm()
				if err != nil && (!errors.Is(err, errInjected) || call == "") {
					t.Errorf("call %d %s: %v", n, call, err)
				}
				if err == nil && call != "" && !strings.HasPrefix(call, "give back") {
					t.Errorf("call %d %s failed, and nobody was told", n, call)
				}
				if call == "" {
					t.Logf("%d calls: %s", n-1, strings.Join(calls, ", "))
					break
				}
				calls = append(calls, call)
			}
			if len(calls) < 15 {
				t.Errorf("only %d calls can fail: %s", len(calls), calls)
			}
		})
	}
	settled(t, p, &warm)
}
