package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// checkListener returns nil when a process of the user uid listens on the port of base, a URL on this machine, and none
// of another user does. A daemon that was killed leaves its URL behind, and whoever takes its port afterwards must not
// be sent this user's key.
func checkListener(base string, uid int) error {
	u, err := url.Parse(base)
	if err != nil {
		return fmt.Errorf("the daemon left %q, which is no URL", base)
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		return fmt.Errorf("the daemon left %q, which has no port", base)
	}
	var owners []int
	for _, file := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		f, err := os.Open(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return fmt.Errorf("see who listens on %s: %w", u.Host, err)
		}
		some, err := listeners(f, uint16(port))
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("see who listens on %s: %w", u.Host, err)
		}
		owners = append(owners, some...)
	}
	if len(owners) == 0 {
		return fmt.Errorf("nobody listens on %s any more", u.Host)
	}
	if i := slices.IndexFunc(owners, func(owner int) bool { return owner != uid }); i >= 0 {
		return fmt.Errorf("a process of user id %d listens on the port of %s", owners[i], u.Host)
	}
	return nil
}

// listeners returns the user ids of the sockets that listen on port, from the kernel's table of TCP sockets (proc_net_tcp(5)).
func listeners(r io.Reader, port uint16) ([]int, error) {
	const (
		local, state, uid = 1, 3, 7 // columns
		listen            = "0A"
	)
	var owners []int
	s := bufio.NewScanner(r)
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) <= uid || f[state] != listen || !strings.HasSuffix(f[local], fmt.Sprintf(":%04X", port)) {
			continue
		}
		owner, err := strconv.ParseUint(f[uid], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("read user id: %w", err)
		}
		owners = append(owners, int(owner))
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("read sockets: %w", err)
	}
	return owners, nil
}
