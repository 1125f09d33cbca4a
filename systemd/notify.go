package systemd

import (
	"fmt"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Ready tells the service manager that the daemon serves requests, with a line for "systemctl status". All
// notifications are ignored unless the unit has Type=notify and, since the daemon is not the unit's main process,
// NotifyAccess=all. Without a service manager they do nothing.
func Ready(status string) error { return notify(daemon.SdNotifyReady, status) }

// Stopping tells the service manager that the daemon has begun to shut down.
func Stopping(status string) error { return notify(daemon.SdNotifyStopping, status) }

// Status replaces the line that "systemctl status" shows.
func Status(status string) error { return notify("", status) }

// Reloading tells the service manager that the daemon has begun to read its configuration again. [Ready] ends that.
func Reloading() error {
	// With the time, services of Type=notify-reload tell this reload from an older one. CLOCK_MONOTONIC is the host's in
	// all namespaces that SoulBox makes.
	return send(daemon.SdNotifyReloading + "\n" + strings.TrimSpace(daemon.SdNotifyMonotonicUsec()))
}

func notify(state, status string) error {
	// A line break would begin another assignment.
	message := "STATUS=" + strings.NewReplacer("\n", " ", "\r", " ").Replace(status)
	if state != "" {
		message = state + "\n" + message
	}
	return send(message)
}

func send(message string) error {
	// The variable stays set: a daemon notifies more than once.
	if _, err := daemon.SdNotify(false, message); err != nil {
		return fmt.Errorf("notify the service manager of %q: %w", message, err)
	}
	return nil
}
