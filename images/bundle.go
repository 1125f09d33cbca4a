package images

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Places inside a sandbox that programs never see.
const (
	SoulDir    = "/.soul"    // the channel between daemon and agent
	SoulBinDir = "/.soulbin" // agent and launcher
)

// SessionCapabilities returns the most that root of a session can have: Docker's set without NET_RAW and MKNOD. None of
// them reaches the slot's mounts, its PID 1 or the agent.
func SessionCapabilities() []string {
	return []string{
		"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE",
		"CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
	}
}

// AgentCapabilities returns the capabilities that an agent needs to make slots and to serve files of every user. The
// agent of a session has [SessionCapabilities] too, to pass them on.
func AgentCapabilities() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETFCAP", "CAP_SETGID",
		"CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE",
	}
}

// Prepared is a directory of the host that holds what a recipe prepared.
type Prepared struct {
	Language string // name of the recipe
	Source   string // directory on the host
	Writable bool   // for the sandbox that fills it
}

// BundleOptions are the facts that one sandbox's configuration is made of.
type BundleOptions struct {
	Hostname    string // of the sandbox
	RootFS      *RootFS
	Writable    bool // RootFS is the sandbox's own, /tmp in it too
	UIDMappings []specs.LinuxIDMapping
	GIDMappings []specs.LinuxIDMapping

	SoulSource    string     // directory on the host that holds the channel; mounted read-write
	SoulBinSource string     // directory on the host with agent and launcher
	ToolsSource   string     // directory on the host with tools for programs; empty: none
	Prepared      []Prepared // at most one for each language

	Args         []string // the agent and its arguments
	Env          []string // default: PATH
	Capabilities []string // default: [AgentCapabilities]
	Rlimits      []specs.POSIXRlimit
	OOMScoreAdj  *int
	CgroupsPath  string // empty: the runtime's own choice
}

// Spec returns the OCI configuration of one sandbox. It is a pure function; it shares no memory with o.
func Spec(o BundleOptions) *specs.Spec {
	caps := slices.Clone(o.Capabilities)
	if caps == nil {
		caps = AgentCapabilities()
	}
	env := slices.Clone(o.Env)
	if env == nil {
		env = []string{"PATH=" + SearchPath}
	}
	return &specs.Spec{
		Version:  specs.Version,
		Hostname: o.Hostname,
		Root:     &specs.Root{Path: o.RootFS.Dir, Readonly: !o.Writable},
		Mounts:   mounts(o),
		Process: &specs.Process{
			Cwd:  "/",
			Args: slices.Clone(o.Args),
			Env:  env,
			// It cannot be taken back once set, and some slots need it off for sudo: the launcher sets it for programs.
			NoNewPrivileges: false,
			Capabilities: &specs.LinuxCapabilities{
				Bounding: caps, Effective: slices.Clone(caps), Permitted: slices.Clone(caps),
			},
			Rlimits:     slices.Clone(o.Rlimits),
			OOMScoreAdj: clonePointer(o.OOMScoreAdj),
		},
		Linux: &specs.Linux{
			UIDMappings: slices.Clone(o.UIDMappings),
			GIDMappings: slices.Clone(o.GIDMappings),
			CgroupsPath: o.CgroupsPath,
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.UserNamespace}, {Type: specs.MountNamespace}, {Type: specs.PIDNamespace},
				{Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.NetworkNamespace},
				{Type: specs.CgroupNamespace},
			},
			// Runtimes insist on a rule. What keeps devices away is the user namespace: no node can be made in it, and
			// no mount but /dev shows any.
			Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}},
			// In the agent's own user namespace a slot can mount a proc of its own under these masks; the launcher
			// masks that one again.
			MaskedPaths:   maskedPaths(),
			ReadonlyPaths: readonlyPaths(),
		},
	}
}

// mounts lists what is mounted, outermost first.
func mounts(o BundleOptions) []specs.Mount {
	var all []specs.Mount
	for _, m := range o.RootFS.Mounts {
		m.Options = slices.Clone(m.Options)
		all = append(all, m)
	}
	all = append(all,
		specs.Mount{Type: "proc", Source: "proc", Destination: "/proc", Options: []string{"nosuid", "noexec", "nodev"}},
		// The runtime binds null, zero, full, random, urandom and tty there.
		specs.Mount{Type: "tmpfs", Source: "tmpfs", Destination: "/dev", Options: []string{"nosuid", "noexec", "strictatime", "mode=755", "size=64k", "nr_inodes=64"}},
		// What a slot mounts over it is its own; here it only serves the agent.
		smallTmpfs("/dev/shm", "noexec"),
	)
	if !o.Writable { // so with these
		all = append(all, smallTmpfs("/tmp", "noexec"), smallTmpfs("/work", "noexec"))
	}
	all = append(all,
		specs.Mount{Type: "bind", Source: o.SoulSource, Destination: SoulDir, Options: []string{"bind", "rw", "nosuid", "nodev", "noexec"}},
		specs.Mount{Type: "bind", Source: o.SoulBinSource, Destination: SoulBinDir, Options: []string{"bind", "ro", "nosuid", "nodev"}},
	)
	if o.ToolsSource != "" {
		all = append(all, specs.Mount{Type: "bind", Source: o.ToolsSource, Destination: ToolsDir, Options: []string{"bind", "ro", "nosuid", "nodev"}})
	}
	for _, p := range o.Prepared {
		access := "ro"
		if p.Writable {
			access = "rw"
		}
		all = append(all, specs.Mount{
			Type: "bind", Source: p.Source, Destination: LangDir + "/" + p.Language,
			Options: []string{"bind", access, "nosuid", "nodev"},
		})
	}
	return all
}

func smallTmpfs(destination string, options ...string) specs.Mount {
	return specs.Mount{
		Type: "tmpfs", Source: "tmpfs", Destination: destination,
		Options: append([]string{"nosuid", "nodev", "mode=1777", "size=1m", "nr_inodes=256"}, options...),
	}
}

// maskedPaths are what a kernel tells that is nobody's business inside.
func maskedPaths() []string {
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
		"/sys/firmware",
	}
}

func readonlyPaths() []string {
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
