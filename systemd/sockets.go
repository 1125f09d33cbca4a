package systemd

import (
	"errors"
	"fmt"
	"os"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// Sockets are listening sockets that the service manager opened for this process.
type Sockets struct {
	TCP, Unix *os.File // nil where it opened none
}

// Listening returns what the service manager passed (LISTEN_FDS) and forgets the variables, so that nothing that is
// started believes them meant for it. It passes at most one socket of each kind.
func Listening() (_ Sockets, err error) {
	files := activation.Files(true)
	var s Sockets
	defer func() {
		if err != nil {
			for _, f := range files {
				err = errors.Join(err, f.Close())
			}
		}
	}()
	for _, f := range files {
		domain, err := listeningDomain(f)
		if err != nil {
			return Sockets{}, fmt.Errorf("use the socket %s of the service manager: %w", f.Name(), err)
		}
		into := map[int]**os.File{unix.AF_INET: &s.TCP, unix.AF_INET6: &s.TCP, unix.AF_UNIX: &s.Unix}[domain]
		if into == nil || *into != nil {
			return Sockets{}, fmt.Errorf("use the socket %s of the service manager: %w", f.Name(), errTooMany)
		}
		*into = f
	}
	return s, nil
}

var (
	errTooMany  = errors.New("one TCP socket and one unix socket can be served, no others: mend the ListenStream= lines of the .socket unit")
	errNoListen = errors.New("it is no listening stream socket: the .socket unit needs ListenStream= and Accept=no")
)

// listeningDomain returns the address family of a listening stream socket.
func listeningDomain(f *os.File) (int, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var values [3]int
	var inner error
	err = conn.Control(func(fd uintptr) {
		for i, option := range []int{unix.SO_DOMAIN, unix.SO_TYPE, unix.SO_ACCEPTCONN} {
			if values[i], inner = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, option); inner != nil {
				return
			}
		}
	})
	if err = errors.Join(err, inner); err != nil {
		return 0, err
	}
	if values[1] != unix.SOCK_STREAM || values[2] != 1 {
		return 0, errNoListen
	}
	return values[0], nil
}
