// Package cgroups bounds: it creates control groups, limits, freezes, kills, reads and removes them, and says what this
// host offers. It decides nothing: limits come from its callers, who also decide what a number means.
//
// The main type is [Tree], everything one daemon owns. Below it lies a [Box] for each sandbox, with the group of its
// agent and, for what is untrusted, one with a [Group] for each slot:
//
//	soulbox/<daemon>/<box>/agent
//	soulbox/<daemon>/<box>/user/<slot>
//
// The limits of a sandbox lie on user, those of the box a fixed reserve above them, so that a program which is out of
// memory or processes never blocks the agent.
//
// Home ground is cgroup v2 in a delegated unit. cgroup v1 works through the same types for root of the host, with no
// promise of parity. Where neither is there the groups do nothing, and [Tree.Enforced] says so.
//
// Limits and counters go through github.com/containerd/cgroups/v3. Plain files are used for what it lacks: joining by
// descriptor, the pids.events counter, raising a memory limit on v1 with swap accounted for, waiting that ends with a context (its freezing, killing and removing retry
// without bound or give up after half a second), and making groups that must not be there yet.
//
// Invariants: a call that fails leaves no group that it made; a process is never signalled by a number that may have
// passed to another; nothing outside the tree is written but, on v2, the unit's own group (see [Settle]).
//
// The package is used by the daemon alone, never inside a sandbox. Its values can be used by several goroutines.
package cgroups
