// Package helper drives libcontainer on behalf of the daemon.
//
// libcontainer starts containers by running its own executable again, with C code that runs before Go's runtime does,
// so it cannot live in the pure Go daemon. The helper is a small process of its own in the wide namespace: the daemon
// starts it from a sealed memfd and calls [Server]'s methods with net/rpc over a socket pair. It ends when the socket
// does; the containers it started live on as children of the wide namespace's PID 1.
//
// It knows bundles and ids, and never what a sandbox is for.
package helper
