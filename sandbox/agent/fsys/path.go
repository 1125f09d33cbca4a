package fsys

import (
	"fmt"
	"path"
	"strings"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"
)

// resolvePath returns the absolute, cleaned form of a path that a client gave: "" and "~" are home, and so is what
// relative paths begin at.
func resolvePath(p, home string) (string, error) {
	if !path.IsAbs(home) {
		home = "/"
	}
	switch {
	case strings.ContainsRune(p, 0):
		return "", newFault(connect.CodeInvalidArgument, "a path cannot hold a zero byte")
	case p == "~" || strings.HasPrefix(p, "~/"):
		p = home + "/" + p[1:]
	case strings.HasPrefix(p, "~"):
		return "", newFault(connect.CodeInvalidArgument, fmt.Sprintf("cannot expand the home of another user: '%s'", p))
	case !path.IsAbs(p):
		p = home + "/" + p
	}
	p = path.Clean(p)
	if len(p) >= unix.PathMax {
		return "", newFault(connect.CodeInvalidArgument, fmt.Sprintf("a path cannot be longer than %d bytes", unix.PathMax-1))
	}
	return p, nil
}

// valid returns s as protobuf can carry it.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
