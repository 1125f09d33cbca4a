package sandboxtest_test

import (
	"testing"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

func TestHello(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	h, err := p.Engine.Start(t.Context(), sandbox.Request{Client: "t", Language: "python", Code: "print('hello')"})
	if err != nil {
		t.Fatal(err)
	}
	x, err := h.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if x.Verdict != sandbox.VerdictOK || string(x.Stdout) != "hello\n" {
		t.Errorf("execution = %+v, want hello", x)
	}
}
