// Package agent is PID 1 of a sandbox: it makes slots, runs programs in them and reports what they did.
//
// [Server] serves the slots' RPCs on agent.sock in the channel directory and takes descriptors on fds.sock. Each slot
// has a launcher (launcher/launcher.c), PID 1 of the slot's own namespaces, and one program. The agent holds nothing
// of the daemon's: it lives on when the daemon dies, and serves the next one.
//
// Invariants: no program shares the agent's pid namespace; a slot's processes are dead before its run's end is
// reported; every queue, message, table and wait is bounded; a hostile program can ruin its own slot and no other.
//
// The package never knows cgroups, which are the daemon's, and never decides what a result means. It imports nothing
// of SoulBox but its own protocol.
package agent
