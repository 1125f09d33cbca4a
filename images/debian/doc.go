// Package debian makes root file systems of Debian's packages, with mmdebstrap.
//
// [Options.Command] is a pure function: which command line makes what was asked for. [Build] runs it and passes on the
// archive that it writes. It runs in a user namespace of its own below the daemon's, as ids that are not the daemon's, in
// process, mount and IPC namespaces of its own: what the packages' scripts do stays there. It has the host's network,
// and what it fetches is checked against the keys of Debian's archive that the host has.
package debian
