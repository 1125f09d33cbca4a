// Package runsc is the sandbox.Runtime that starts sandboxes under gVisor: their programs speak to a kernel of their own, the
// sentry, which is a process of this host.
//
// It drives the runsc command, which is compiled from the module in the directory tool, at the version that is [Version]. The
// daemon links nothing of gVisor. Its main type is [Runtime].
//
// Everything of a sandbox, sentry, gofer and stubs, starts in the agent's group of the sandbox's cgroups, and is charged
// there; runsc itself is told to leave cgroups alone. Each sandbox has a state directory of its own, named by its id, so
// that no id can be taken for another, and ends with all processes that were started for that directory.
//
// Invariant: sandboxes outlive the daemon; whoever comes next can list and destroy them, and needs no runsc for it.
package runsc
