// Package systemd hosts: it tells the service manager how the daemon is doing, takes the sockets that it opened, writes to
// its journal, finds out whether the unit that the process runs in was handed over, and makes, installs and removes the
// units.
//
// The main types are [Manager], which installs and asks, and [Unit]. A daemon calls [Listening], [Ready], [KeepAlive] and
// [Delegated]. Without systemd the notifications do nothing and the answer is "no".
//
// Invariants: the text of units depends on [UnitOptions] alone; what an operator edited is not lost without being told to;
// nothing is changed but by a [Step], which says what it does; no value can add a field to an entry of the journal or a
// line to a unit.
//
// The package never touches control groups; that is for package cgroups.
package systemd
