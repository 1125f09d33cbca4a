// Package systemd hosts: it tells the service manager how the daemon is doing and finds out whether the unit that the
// process runs in was handed over to it.
//
// The main calls are [Ready] and [Delegated]. Without systemd the notifications do nothing and the answer is "no".
//
// The package never changes a unit and never touches control groups; that is for package cgroups.
package systemd
