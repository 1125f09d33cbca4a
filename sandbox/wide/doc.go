// Package wide makes the namespace that a daemon and all its sandboxes live in.
//
// [Run] is called by what a user or systemd started ("outer", in the host's namespaces). It starts a copy of its own
// executable ("inner") in new user, mount and pid namespaces, maps ids 0 to its own and 1..N to its subordinate ones,
// and forwards signals. [Inner] is PID 1 there: it mounts the run directory, starts the daemon, starts it again when it
// is killed, and reaps. The daemon finds what it was given with [Daemon].
//
// [Upgrade] has a supervisor start its daemon from another executable: the one that runs ends on [HandOver], and its
// sandboxes are the next one's. A new one that is not ready in time ([Session.Ready]) gives way to the old executable.
//
// Root and rootless differ in where the ids come from ([Subordinate]) and in who writes the maps, and nowhere else.
//
// Invariants: when outer or inner dies, the kernel ends everything they started; inherited descriptors (id lock,
// listener, state lock) live exactly as long as inner; nothing is left on the host but files in the state directory.
//
// It never knows what the daemon does.
package wide
