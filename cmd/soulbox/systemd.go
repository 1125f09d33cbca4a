package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/cmd/soulbox/config"
	"github.com/soulbox/soulbox/sandbox/wide"
	"github.com/soulbox/soulbox/systemd"
)

// serviceUser is who a system service runs as, where nothing else was said.
const serviceUser = "soulbox"

func systemdCommand() *cli.Command {
	return &cli.Command{
		Name:  "systemd",
		Usage: "run the daemon as a service",
		Subcommands: []*cli.Command{
			systemdInstallCommand(),
			systemdUninstallCommand(),
			{
				Name: "print", Usage: "print the units that install would write", ArgsUsage: "[UNIT]",
				Description: "Without UNIT, soulbox.socket or soulbox.service, both, each below its path. Nothing is changed, and systemd need not run.\n\n" +
					"   soulbox systemd print soulbox.service",
				Flags:  append(unitFlags(), &cli.IntFlag{Name: "systemd-version", Usage: "`VERSION` of systemd that they are for (default: the oldest supported)"}),
				Action: systemdPrint,
			},
			{
				Name: "status", Usage: "say whether the service is installed, runs, and has what it needs",
				Description: "The exit status is 3 when neither the service nor its socket is active.\n\n   soulbox systemd status --user",
				Flags:       append(scopeFlags(), jsonFlag()),
				Action:      systemdStatus,
			},
		},
	}
}

func systemdInstallCommand() *cli.Command {
	return &cli.Command{
		Name: "install", Usage: "install the service and start its socket",
		Description: "It does what is left to do, and says what: once all is done, nothing. The daemon starts when somebody connects. A system\n" +
			"service runs as a user of its own, which is made, with subordinate ids of its own. --hardened takes more from it,\n" +
			"and sudo from the programs in sandboxes.\n\n   soulbox systemd install --dry-run\n   soulbox systemd install --listen 127.0.0.1:4445",
		Flags: append(unitFlags(),
			&cli.BoolFlag{Name: "dry-run", Usage: "only say what would be done"},
			&cli.BoolFlag{Name: "force", Usage: "replace units that were edited"}),
		Action: systemdInstall,
	}
}

func systemdUninstallCommand() *cli.Command {
	return &cli.Command{
		Name: "uninstall", Usage: "stop the service and remove it",
		Description: "Sandboxes end. State and cache stay, and with a system service its user; --purge removes them, too.\n\n   soulbox systemd uninstall --purge",
		Flags: append(scopeFlags(), serviceUserFlag(),
			&cli.BoolFlag{Name: "purge", Usage: "remove state, cache, and the user of a system service with its subordinate ids"},
			&cli.BoolFlag{Name: "dry-run", Usage: "only say what would be done"},
			&cli.BoolFlag{Name: "force", Usage: "remove units that were edited"}),
		Action: systemdUninstall,
	}
}

// scopeFlags say whose service manager is meant.
func scopeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "system", Usage: "a service of the system (default for root)"},
		&cli.BoolFlag{Name: "user", Usage: "a service of the calling user (default for others)"},
	}
}

func serviceUserFlag() cli.Flag {
	return &cli.StringFlag{Name: "service-user", Value: serviceUser, Usage: "`NAME` of the user that a system service runs as"}
}

func unitFlags() []cli.Flag {
	return append(scopeFlags(), serviceUserFlag(),
		&cli.StringFlag{Name: "listen", Usage: "`ADDRESS` of the socket (default: as configured)"},
		&cli.PathFlag{Name: "exec", Usage: "`FILE` that the service runs (default: this executable)"},
		&cli.BoolFlag{Name: "hardened", Usage: "a system service whose programs cannot gain privileges, not even by sudo in a sandbox"})
}

// systemScope tells whether the system's service manager is meant.
func systemScope(c *cli.Context) (bool, error) {
	if c.Bool("system") && c.Bool("user") {
		return false, fmt.Errorf("--system and --user exclude each other; see %s --help", c.Command.HelpName)
	}
	return c.Bool("system") || os.Getuid() == 0 && !c.Bool("user"), nil
}

// unitOptions puts together what the units say.
func unitOptions(c *cli.Context, system bool, version int) (systemd.UnitOptions, error) {
	o := systemd.UnitOptions{System: system, Exec: c.Path("exec"), User: c.String("service-user"), Hardened: c.Bool("hardened"), Version: version}
	if o.Exec == "" {
		exe, err := os.Executable()
		if err != nil {
			return o, fmt.Errorf("find this executable: %w", err)
		}
		o.Exec = exe
	}
	uid := os.Getuid()
	in := configInput(uid, "")
	in.Languages = nil // of no interest here
	if system {
		in.Path, in.Explicit, in.Defaults = systemConfigFile, false, userDefaults(0)
		in.Env = func(string) (string, bool) { return "", false } // the operator's is not the service's
	}
	cfg, err := config.Load(in)
	if err != nil {
		return o, err
	}
	o.Listen = cmp.Or(c.String("listen"), cfg.Listen)
	var tooLong bool
	if o.Socket, tooLong, err = socketPath(cfg.Socket, cfg.StateDir); err != nil {
		return o, err
	}
	if tooLong {
		return o, fmt.Errorf("the path of the socket in %s would be too long: configure socket = %q or a shorter path", cfg.StateDir, noSocket)
	}
	return o, nil
}

// systemConfigFile is the file that a system service reads: see XDG_CONFIG_HOME in its unit.
const systemConfigFile = "/etc/soulbox/soulbox.toml"

// openManager returns the service manager that a command without arguments is about.
func openManager(c *cli.Context) (*systemd.Manager, error) {
	if err := noArgs(c); err != nil {
		return nil, err
	}
	system, err := systemScope(c)
	if err != nil {
		return nil, err
	}
	return systemd.OpenManager(c.Context, system)
}

func systemdInstall(c *cli.Context) error {
	m, err := openManager(c)
	if err != nil {
		return err
	}
	o := systemd.InstallOptions{Force: c.Bool("force"), SubordinateIDs: wide.Allotment}
	if o.Units, err = unitOptions(c, m.System, m.Version); err != nil {
		return err
	}
	if !m.System {
		// Without them the service could not start.
		if _, err := wide.Subordinate(os.Getuid()); err != nil {
			return err
		}
	}
	steps, err := m.Install(c.Context, o)
	if err != nil {
		return err
	}
	if err := take(c, steps, "it is installed: nothing to do"); err != nil {
		return err
	}
	return printLines(c.App.Writer, afterInstall(c, m)...)
}

// afterInstall is what an operator should know then.
func afterInstall(c *cli.Context, m *systemd.Manager) []string {
	if c.Bool("dry-run") {
		return nil
	}
	var lines []string
	if s, err := m.Status(c.Context); err == nil && s.Service.Active == "active" {
		lines = append(lines, "a daemon runs already: "+m.CommandLine("restart", systemd.ServiceName)+" starts it anew, and ends its sandboxes")
	}
	if !m.System && !lingers() {
		lines = append(lines, "it ends with your last session: loginctl enable-linger lets it start at boot and live on")
	}
	return lines
}

// lingers tells whether the calling user's service manager runs without a session.
func lingers() bool {
	_, err := os.Stat(filepath.Join("/var/lib/systemd/linger", os.Getenv("USER")))
	return os.Getenv("USER") != "" && err == nil
}

// take takes steps and says each, or only says them.
func take(c *cli.Context, steps []systemd.Step, nothing string) error {
	if len(steps) == 0 {
		return printLines(c.App.Writer, nothing)
	}
	for _, s := range steps {
		if err := printLines(c.App.Writer, s.Text); err != nil {
			return err
		}
		if c.Bool("dry-run") {
			continue
		}
		if err := s.Do(c.Context); err != nil {
			return err
		}
	}
	return nil
}

func printLines(w io.Writer, lines ...string) error {
	for _, line := range lines {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	return nil
}

func systemdUninstall(c *cli.Context) error {
	m, err := openManager(c)
	if err != nil {
		return err
	}
	uid := os.Getuid()
	steps, stays, err := m.Uninstall(c.Context, systemd.UninstallOptions{User: c.String("service-user"), Purge: c.Bool("purge"), Force: c.Bool("force"),
		Dirs: []string{defaultStateDir(uid), defaultCacheDir(uid)}})
	if err != nil {
		return err
	}
	if err := take(c, steps, "it is not installed: nothing to do"); err != nil {
		return err
	}
	if len(stays) == 0 {
		return nil
	}
	line := "what stays: " + strings.Join(stays, ", ")
	if !c.Bool("purge") {
		line += "; --purge removes what install made"
	}
	return printLines(c.App.Writer, line)
}

func systemdPrint(c *cli.Context) error {
	if c.NArg() > 1 {
		return fmt.Errorf("print takes one unit or none, got %q; see soulbox systemd print --help", c.Args().Slice())
	}
	system, err := systemScope(c)
	if err != nil {
		return err
	}
	o, err := unitOptions(c, system, c.Int("systemd-version"))
	if err != nil {
		return err
	}
	units, err := systemd.Units(o)
	if err != nil {
		return err
	}
	dir, err := (&systemd.Manager{System: system}).UnitDir()
	if err != nil {
		return err
	}
	var texts []string
	for _, u := range units {
		switch c.Args().First() {
		case "":
			texts = append(texts, "# "+filepath.Join(dir, u.Name)+"\n"+u.Text)
		case u.Name:
			texts = append(texts, u.Text)
		}
	}
	if len(texts) == 0 {
		return fmt.Errorf("no unit %q: there are %s and %s", c.Args().First(), systemd.SocketName, systemd.ServiceName)
	}
	_, err = io.WriteString(c.App.Writer, strings.Join(texts, "\n"))
	return err
}

func systemdStatus(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	system, err := systemScope(c)
	if err != nil {
		return err
	}
	status, err := serviceStatus(c.Context, system)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = printJSON(c.App.Writer, status)
	} else {
		err = printService(c.App.Writer, painterOf(c, c.App.Writer), status)
	}
	if err == nil && status.Service.Active != "active" && status.Socket.Active != "active" {
		return exitStatus(3) // as systemctl status does
	}
	return err
}

func serviceStatus(ctx context.Context, system bool) (systemd.ServiceStatus, error) {
	m, err := systemd.OpenManager(ctx, system)
	if err != nil {
		return systemd.ServiceStatus{}, err
	}
	return m.Status(ctx)
}

// printService prints a table of what the service manager says.
func printService(w io.Writer, p painter, s systemd.ServiceStatus) error {
	unit := func(u systemd.UnitStatus) string {
		text := fmt.Sprintf("%s (%s), %s", u.Active, u.State, cmp.Or(u.Enabled, "not installed"))
		if u.Result != "" && u.Result != "success" {
			text += ", ended by " + u.Result
		}
		return text
	}
	rows := [][]string{
		{"installed", map[bool]string{true: "yes, " + s.Scope + " service", false: "no " + s.Scope + " service"}[s.Installed]},
		{"service", unit(s.Service)},
		{"socket", unit(s.Socket)},
		{"listens on", strings.Join(s.Listen, ", ")},
		{"supervisor", cmp.Or(s.MainPID, "-")},
		{"says", cmp.Or(s.Text, "-")},
		{"delegated", cmp.Or(strings.Join(s.Delegated, " "), "nothing")},
		{"watchdog", cmp.Or(s.Watchdog, "none")},
		{"restarts", cmp.Or(s.Restarts, "0")},
		{"systemd", fmt.Sprint(s.Systemd)},
	}
	if drop := strings.TrimSpace(s.Service.DropIns + " " + s.Socket.DropIns); drop != "" {
		rows = append(rows, []string{"drop-ins", drop})
	}
	for _, text := range s.Warnings {
		rows = append(rows, []string{"warning", text})
	}
	return printTable(w, p, []string{"WHAT", "IS"}, rows)
}
