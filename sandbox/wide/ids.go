package wide

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
)

// The range that root uses: it lies in the part of the id space that systemd's documentation ("Users, Groups, UIDs and
// GIDs on systemd systems") lists as unused, above everything useradd gives out.
const (
	RootBase  = 1_900_000_000
	RootCount = 65536
)

// minCount is the smallest useful range: the shared ids and one sandbox's block.
const minCount = 1002 + 32

// Range is the span of subordinate ids that a supervisor maps behind its own id.
type Range struct {
	UIDBase uint32 `json:"uidBase"` // first id as the host sees it
	GIDBase uint32 `json:"gidBase"`
	Count   uint32 `json:"count"`
}

// ErrNoSubordinateIDs is returned for a user without a usable range; its text has the command that makes one.
var ErrNoSubordinateIDs = errors.New("no subordinate ids")

// Subordinate returns the range of the user with the given uid: root's is fixed ([RootBase]), others' come from
// /etc/subuid and /etc/subgid.
func Subordinate(uid int) (Range, error) {
	if uid == 0 {
		return Range{UIDBase: RootBase, GIDBase: RootBase, Count: RootCount}, nil
	}
	name := strconv.Itoa(uid)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	ub, uc, err := fileRange("/etc/subuid", name, uid)
	if err != nil {
		return Range{}, err
	}
	gb, gc, err := fileRange("/etc/subgid", name, uid)
	if err != nil {
		return Range{}, err
	}
	return Range{UIDBase: ub, GIDBase: gb, Count: min(uc, gc)}, nil
}

func fileRange(path, name string, uid int) (base, count uint32, err error) {
	f, err := os.Open(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, 0, fmt.Errorf("open %s: %w", path, err)
	}
	if err == nil {
		defer f.Close()
		base, count, err = parseRange(f, name, uid)
		if err != nil {
			return 0, 0, fmt.Errorf("read %s: %w", path, err)
		}
	}
	if count < minCount {
		return 0, 0, fmt.Errorf("%w for user %s in %s (has %d, needs %d or more): run as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s (choose another span if another user has this one)",
			ErrNoSubordinateIDs, name, path, count, minCount, name)
	}
	return base, count, nil
}

// parseRange returns the largest range of name (or uid) in a subuid file, zero when there is none. Lines that do not
// parse are skipped, as newuidmap does.
func parseRange(r io.Reader, name string, uid int) (base, count uint32, err error) {
	s := bufio.NewScanner(r)
	for s.Scan() {
		f := strings.Split(strings.TrimSpace(s.Text()), ":")
		if len(f) != 3 || (f[0] != name && f[0] != strconv.Itoa(uid)) {
			continue
		}
		b, err1 := strconv.ParseUint(f[1], 10, 32)
		c, err2 := strconv.ParseUint(f[2], 10, 32)
		if err1 != nil || err2 != nil || c <= uint64(count) {
			continue
		}
		base, count = uint32(b), uint32(min(c, RootCount))
	}
	return base, count, s.Err()
}
