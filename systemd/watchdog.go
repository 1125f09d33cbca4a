package systemd

import (
	"context"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// The service manager's variables for the watchdog; see sd_watchdog_enabled(3).
const (
	watchdogTime = "WATCHDOG_USEC"
	watchdogPID  = "WATCHDOG_PID"
)

// Inherit decides, in the process that the service manager started, whether its watchdog is meant for that process, and
// if so for the daemon that this process will start. It is not when an ancestor was meant.
func Inherit() error {
	if pid := os.Getenv(watchdogPID); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		if err := os.Unsetenv(watchdogTime); err != nil {
			return err
		}
	}
	return os.Unsetenv(watchdogPID)
}

// WatchdogInterval is the time within which the service manager wants to be pinged, 0 for never.
func WatchdogInterval() time.Duration {
	µs, err := strconv.ParseInt(os.Getenv(watchdogTime), 10, 64)
	if err != nil || µs <= 0 || µs > int64(time.Duration(1<<63-1)/time.Microsecond) {
		return 0
	}
	return time.Duration(µs) * time.Microsecond
}

// Alive pings the watchdog once: for a daemon that starts again under a unit that has run, and cannot answer yet.
func Alive() error {
	if WatchdogInterval() == 0 {
		return nil
	}
	return send(daemon.SdNotifyWatchdog)
}

// KeepAlive pings the service manager's watchdog, three times in each interval, as long as check succeeds, until ctx
// ends. A check that fails or does not return in time is no ping: without one for an interval the service manager ends
// the unit and starts it again. Without a watchdog KeepAlive does nothing.
func KeepAlive(ctx context.Context, check func(context.Context) error, log *slog.Logger) {
	interval := WatchdogInterval()
	if interval == 0 {
		return
	}
	tick := time.NewTicker(max(interval/3, time.Millisecond))
	defer tick.Stop()
	for {
		if err := pingIf(ctx, check, interval/3); err != nil && ctx.Err() == nil {
			log.Error("the watchdog is not pinged: the daemon does not answer itself", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func pingIf(ctx context.Context, check func(context.Context) error, most time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	if err := check(ctx); err != nil {
		return err
	}
	return send(daemon.SdNotifyWatchdog)
}
