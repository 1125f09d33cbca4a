package imports

import "strings"

// Module is the project's module path.
const Module = "github.com/soulbox/soulbox"

// pureGo lists what must build without cgo: the daemon, and all that runs inside a sandbox.
var pureGo = [...]string{"cmd/soulbox", "cmd/soulbox-agent", "cmd/soulbox-transpile"}

// rules say for each folder which packages of the project its packages may import, beside those below the same folder.
// A name stands for the package and everything below it. The longest folder that matches decides.
var rules = map[string][]string{
	"cmd":                   {"rpc", "sandbox", "images", "cgroups", "seccomp", "store", "systemd", "bench"},
	"rpc":                   {"sandbox"},
	"sandbox":               {"images", "cgroups", "seccomp"},
	"sandbox/agent":         {}, // what is inside; its protocol lies below it
	"sandbox/assets":        {},
	"images":                {},
	"cgroups":               {},
	"seccomp":               {},
	"store":                 {},
	"systemd":               {},
	"bench":                 {},
	"docs":                  {"rpc/soulboxpb"}, // examples: what any client of the API may use
	"rpc/soulboxpb":         {},
	"sandbox/wide":          {},
	"sandbox/agent/agentpb": {},
}

// forbidden are single edges that a folder's rule would allow. The agent's client is the daemon's: nothing that runs
// inside may contain it.
var forbidden = map[[2]string]string{
	{"sandbox/agent", "sandbox/agent/client"}:     "the client is the daemon's side",
	{"cmd/soulbox-agent", "sandbox/agent/client"}: "the client is the daemon's side",
}

// Check returns why the package from must not import the package to, "" when it may. Both are relative to the module's
// top.
func Check(from, to string) string {
	if why := forbidden[[2]string{from, to}]; why != "" {
		return why
	}
	return CheckOrder(from, to)
}

// CheckOrder is [Check] for tests: they keep to the order of folders, and may use both sides of a protocol.
func CheckOrder(from, to string) string {
	folder := ""
	for f := range rules {
		if below(from, f) && len(f) > len(folder) {
			folder = f
		}
	}
	if folder == "" {
		return "no rule names " + from
	}
	if below(to, folder) {
		return ""
	}
	for _, allowed := range rules[folder] {
		if below(to, allowed) {
			return ""
		}
	}
	return "packages in " + folder + " may import of the project only what is below it" + list(rules[folder])
}

func list(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return " and " + strings.Join(names, ", ")
}

// below tells whether a package is folder or lies below it.
func below(pkg, folder string) bool { return pkg == folder || strings.HasPrefix(pkg, folder+"/") }
