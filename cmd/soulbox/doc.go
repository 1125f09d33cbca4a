// Command soulbox runs untrusted programs in sandboxes on one Linux host.
//
// One executable plays three roles, told apart by argv[0]: the command that a user or systemd starts, the supervisor's
// inner half, and the daemon in the wide namespace (package wide). A command that needs sandboxes is started twice:
// outside it makes the namespace and starts itself again inside it.
//
// The package wires; it holds one file per command and decides nothing.
package main
