package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/soulbox/soulbox/cmd/soulbox/config"
)

func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "soulbox.toml")
	in := config.Input{Path: path, Explicit: true}
	say := func(toml string) {
		if err := os.WriteFile(path, []byte(toml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	say("max_queue = 1\nlisten = \"a:1\"\n")
	first, err := config.Load(in)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	applied := 0
	r := &reloader{now: first, load: func() (*config.Effective, error) { return config.Load(in) }, log: slog.New(slog.NewTextHandler(&log, nil)),
		apply: func(e *config.Effective) { applied = e.MaxQueue }}
	for _, c := range []struct {
		name, toml string
		applied    int
		want, not  []string // in the log
	}{
		{"a change", "max_queue = 2\nlisten = \"a:1\"\n", 2, []string{"configuration reloaded", "changed=[max_queue]"}, []string{"level=WARN", "level=ERROR"}},
		{"wrong", "max_queue = 3\nlog.level = \"x\"\ndran = 1\n", 2, []string{"line=2", "line=3", "did you mean drain", "stays as it was", "problems=2"}, []string{"reloaded"}},
		{"a restart is due", "max_queue = 4\nlisten = \"a:2\"\n", 4, []string{"level=WARN", "key=listen", "soulbox.toml:2", "changed=[max_queue]"}, []string{"level=ERROR"}},
		{"it still is", "max_queue = 4\nlisten = \"a:2\"\n", 4, []string{"key=listen", "changed=[]"}, nil},
	} {
		log.Reset()
		say(c.toml)
		r.reload()
		if applied != c.applied {
			t.Errorf("%s: max_queue %d applied, want %d", c.name, applied, c.applied)
		}
		for _, want := range c.want {
			if !strings.Contains(log.String(), want) {
				t.Errorf("%s: the log lacks %q:\n%s", c.name, want, &log)
			}
		}
		for _, not := range c.not {
			if strings.Contains(log.String(), not) {
				t.Errorf("%s: the log has %q:\n%s", c.name, not, &log)
			}
		}
	}
	log.Reset()
	r.load = func() (*config.Effective, error) { return nil, errors.New("no recipes") }
	if r.reload(); !strings.Contains(log.String(), "no recipes") || applied != 4 {
		t.Errorf("after another error: applied %d, log %s", applied, &log)
	}
}

// TestReloaderRun: each signal reloads, and the end of its context ends it.
func TestReloaderRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	loads := make(chan struct{})
	r := &reloader{log: slog.New(slog.DiscardHandler), load: func() (*config.Effective, error) {
		loads <- struct{}{}
		return nil, errors.New("never mind")
	}}
	signals := make(chan os.Signal, 1)
	var wg sync.WaitGroup
	wg.Go(func() { r.run(ctx, signals) })
	for range 3 {
		signals <- syscall.SIGHUP
		<-loads
	}
	cancel()
	wg.Wait()
}
