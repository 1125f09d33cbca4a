// Package runc is the sandbox.Runtime that starts containers with runc's libcontainer, in process and not by the runc
// command: its calls go to the helper (package helper), which the daemon starts from a sealed memfd.
//
// Its main type is [Runtime]. Invariant: the containers outlive the helper and the daemon; whoever comes next can
// destroy them.
package runc
