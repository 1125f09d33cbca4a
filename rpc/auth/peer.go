package auth

import (
	"context"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// OwnerKeyID is the id of the owner of the daemon, who comes over its unix socket and needs no key.
const OwnerKeyID = "owner"

type ownerKey struct{}

// ConnContext is for [net/http.Server]: it notes in a connection's context when the daemon's own user is at the other
// end of a unix socket. The kernel says who that is, as of the moment when the client connected.
func ConnContext(ctx context.Context, conn net.Conn) context.Context {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return ctx
	}
	uid, err := peerUID(c)
	return context.WithValue(ctx, ownerKey{}, err == nil && uid == os.Getuid())
}

// isOwner tells whether [ConnContext] found the daemon's own user.
func isOwner(ctx context.Context) bool {
	owner, _ := ctx.Value(ownerKey{}).(bool)
	return owner
}

// peerUID returns the user id of a socket's other end as this process's user namespace shows it: 0 for the daemon's own
// user, whose namespace it is. Users that the namespace does not know show as the overflow id, 65534.
func peerUID(c *net.UnixConn) (uid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("ask who is at the other end of a socket: %w", err)
	}
	var cred *unix.Ucred
	cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if cerr != nil {
		err = cerr
	}
	if err != nil {
		return -1, fmt.Errorf("ask who is at the other end of a socket: %w", err)
	}
	return int(cred.Uid), nil
}
