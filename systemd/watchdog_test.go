package systemd

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestKeepAlive: pings come while the check succeeds, none while it fails or hangs, and again afterwards.
func TestKeepAlive(t *testing.T) {
	manager := newNotifySocket(t)
	t.Setenv(watchdogTime, "60000") // 60 ms
	if err := Alive(); err != nil {
		t.Fatal(err)
	}
	manager.expect(t, "WATCHDOG=1")
	var answer atomic.Pointer[func(context.Context) error]
	set := func(f func(context.Context) error) { answer.Store(&f) }
	set(func(context.Context) error { return nil })
	checked := make(chan struct{}, 1000)
	var log logLines
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		KeepAlive(ctx, func(ctx context.Context) error {
			defer func() { checked <- struct{}{} }()
			return (*answer.Load())(ctx)
		}, slog.New(slog.NewTextHandler(&log, nil)))
	}()
	manager.expect(t, "WATCHDOG=1")
	for _, bad := range []func(context.Context) error{
		func(context.Context) error { return errors.New("no answer") },
		func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		set(bad)
		awaitChecks(checked, 2) // the one under way may have been good
		manager.drain(t)
		awaitChecks(checked, 3)
		if got := manager.drain(t); got > 0 {
			t.Errorf("%d pings while the check fails", got)
		}
		set(func(context.Context) error { return nil })
		manager.expect(t, "WATCHDOG=1")
	}
	cancel()
	<-ended
	if n := log.count.Load(); n < 3 {
		t.Errorf("%d log lines of failed checks, want some", n)
	}
}

func awaitChecks(checked <-chan struct{}, n int) {
	for range n {
		<-checked
	}
}

// logLines counts what is logged.
type logLines struct{ count atomic.Int64 }

func (l *logLines) Write(b []byte) (int, error) {
	l.count.Add(int64(strings.Count(string(b), "\n")))
	return len(b), nil
}

func TestWatchdogInterval(t *testing.T) {
	for _, tt := range []struct {
		value string
		want  time.Duration
	}{
		{"", 0}, {"0", 0}, {"-5", 0}, {"x", 0}, {"1.5", 0},
		{"60000000", time.Minute},
		{"9223372036854775807", 0}, // no time.Duration
		{"99999999999999999999", 0},
	} {
		t.Setenv(watchdogTime, tt.value)
		if got := WatchdogInterval(); got != tt.want {
			t.Errorf("WatchdogInterval with %q = %v, want %v", tt.value, got, tt.want)
		}
	}
	t.Setenv(watchdogTime, "")
	t.Setenv("NOTIFY_SOCKET", "/none")
	if err := Alive(); err != nil {
		t.Errorf("Alive without a watchdog: %v", err)
	}
	KeepAlive(t.Context(), func(context.Context) error {
		t.Error("without a watchdog the check was made")
		return nil
	}, slog.Default())
}

func TestInherit(t *testing.T) {
	for _, tt := range []struct {
		pid  string
		want time.Duration
	}{
		{"", time.Second}, {strconv.Itoa(os.Getpid()), time.Second}, {"1", 0}, {"x", 0},
	} {
		t.Setenv(watchdogTime, "1000000")
		t.Setenv(watchdogPID, tt.pid)
		err := Inherit()
		if got := WatchdogInterval(); err != nil || got != tt.want {
			t.Errorf("with WATCHDOG_PID=%q: Inherit = %v, interval %v, want %v", tt.pid, err, got, tt.want)
		}
		if _, there := os.LookupEnv(watchdogPID); there {
			t.Errorf("with WATCHDOG_PID=%q: it is still set", tt.pid)
		}
	}
}
