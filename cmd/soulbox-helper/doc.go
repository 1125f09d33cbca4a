// Command soulbox-helper is the part of SoulBox that needs cgo: libcontainer and libseccomp. It is embedded in soulbox
// and started by it; see package helper. Built without the tag libseccomp it only says so.
package main
