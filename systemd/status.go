package systemd

import (
	"cmp"
	"context"
	"slices"
	"strings"
)

// ServiceStatus is what the service manager says of SoulBox.
type ServiceStatus struct {
	Scope     string     `json:"scope"` // "system" or "user"
	Installed bool       `json:"installed"`
	Service   UnitStatus `json:"service"`
	Socket    UnitStatus `json:"socket"`
	MainPID   string     `json:"mainPid,omitempty"`
	Text      string     `json:"text,omitempty"`     // what the daemon said last
	Watchdog  string     `json:"watchdog,omitempty"` // "1min"; empty: none
	Restarts  string     `json:"restarts,omitempty"` // by systemd, since it was started
	Delegated []string   `json:"delegated"`          // controllers; sorted
	Listen    []string   `json:"listen"`
	Systemd   int        `json:"systemd"` // version
	Warnings  []string   `json:"warnings,omitempty"`
}

// UnitStatus is that of one unit.
type UnitStatus struct {
	Enabled string `json:"enabled"` // "enabled", "disabled"; empty without the unit
	Active  string `json:"active"`  // "active", "inactive", "failed"
	State   string `json:"state"`   // "running", "listening", "dead"
	Result  string `json:"result"`  // "success", "watchdog", "exit-code"
	DropIns string `json:"dropIns,omitempty"`
}

// Status asks about the units.
func (m *Manager) Status(ctx context.Context) (ServiceStatus, error) {
	common := []string{"LoadState", "UnitFileState", "ActiveState", "SubState", "Result", "DropInPaths", "NeedDaemonReload"}
	service, err := m.Show(ctx, ServiceName, append(common, "MainPID", "StatusText", "WatchdogUSec", "NRestarts", "Delegate", "DelegateControllers")...)
	if err != nil {
		return ServiceStatus{}, err
	}
	socket, err := m.Show(ctx, SocketName, append(common, "Listen")...)
	if err != nil {
		return ServiceStatus{}, err
	}
	return statusOf(m, service, socket), nil
}

// statusOf decides from the units' properties.
func statusOf(m *Manager, service, socket map[string]string) ServiceStatus {
	s := ServiceStatus{Scope: "user", Installed: service["LoadState"] == "loaded", Service: unitStatus(service), Socket: unitStatus(socket),
		Text: service["StatusText"], Restarts: service["NRestarts"], Delegated: []string{}, Listen: []string{}, Systemd: m.Version}
	if m.System {
		s.Scope = "system"
	}
	if pid := service["MainPID"]; pid != "0" {
		s.MainPID = pid
	}
	if w := service["WatchdogUSec"]; w != "0" && w != "infinity" {
		s.Watchdog = w
	}
	if service["Delegate"] == "yes" {
		s.Delegated = slices.Sorted(strings.FieldsSeq(service["DelegateControllers"]))
	}
	for line := range strings.Lines(socket["Listen"]) {
		s.Listen = append(s.Listen, strings.TrimSuffix(strings.TrimSpace(line), " (Stream)"))
	}
	if s.Installed && s.Service.Active == "active" {
		for _, c := range []string{"cpu", "memory", "pids"} {
			if !slices.Contains(s.Delegated, c) {
				s.Warnings = append(s.Warnings, "the controller "+c+" is not delegated: its limits are not kept by the kernel")
			}
		}
	}
	if service["NeedDaemonReload"] == "yes" || socket["NeedDaemonReload"] == "yes" {
		s.Warnings = append(s.Warnings, "the units have changed: "+m.CommandLine("daemon-reload"))
	}
	return s
}

func unitStatus(p map[string]string) UnitStatus {
	return UnitStatus{Enabled: p["UnitFileState"], Active: cmp.Or(p["ActiveState"], "unknown"), State: p["SubState"], Result: p["Result"], DropIns: p["DropInPaths"]}
}
