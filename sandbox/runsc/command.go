package runsc

import (
	"fmt"
	"strings"

	"github.com/soulbox/soulbox/sandbox"
)

// flags are what every runsc command of SoulBox is told.
func flags(dir string) []string {
	return []string{
		"--root=" + dir,
		"--platform=systrap",
		"--host-settings=ignore",
		"--ignore-cgroups",
		"--in-sandbox-cgroup=v2",
		"--network=none",
		"--gofer-network-namespace=new",
		"--host-uds=create",              // the agent's sockets
		"--overlay2=none",                // what is to be written has been mounted for it
		"--file-access-mounts=exclusive", // nothing that is mounted changes under a sandbox, but for what the host installs
		"--allow-suid",                   // sudo; a slot for programs has no_new_privs
	}
}

// command starts a sandbox and returns once its PID 1 runs. The descriptors from 3 on are cgroup.procs files of the groups
// that all of it is to be in: a shell enters them and becomes runsc. Nothing here can be born in a group of cgroup v1.
func command(binary, dir, bundle string, id sandbox.ID, groups int) []string {
	var script strings.Builder
	for fd := 3; fd < 3+groups; fd++ {
		fmt.Fprintf(&script, "echo 0 >&%d && exec %d>&- && ", fd, fd)
	}
	script.WriteString(`exec "$0" "$@"`)
	args := append([]string{"/bin/sh", "-c", script.String(), binary}, flags(dir)...)
	return append(args, "run", "--detach", "--bundle="+bundle, string(id))
}
