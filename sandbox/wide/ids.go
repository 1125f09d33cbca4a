package wide

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/user"
	"slices"
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
	uids, err := readSpans("/etc/subuid")
	if err != nil {
		return Range{}, err
	}
	gids, err := readSpans("/etc/subgid")
	if err != nil {
		return Range{}, err
	}
	u, g := largest(uids, name, uid), largest(gids, name, uid)
	if n := min(u.count, g.count); n < minCount {
		return Range{}, fmt.Errorf("%w for user %s in /etc/subuid and /etc/subgid (%d, and %d or more are needed): run as root: %s",
			ErrNoSubordinateIDs, name, n, minCount, grant(name, uid, free(append(uids, gids...))))
	}
	return Range{UIDBase: uint32(u.first), GIDBase: uint32(g.first), Count: uint32(min(u.count, g.count, RootCount))}, nil
}

// grant is the command that gives a user RootCount ids from first on. usermod knows only whom /etc/passwd lists: other
// users, a directory service's, go by their number.
func grant(name string, uid int, first uint64) string {
	if name == strconv.Itoa(uid) {
		return fmt.Sprintf("echo %s:%d:%d | tee -a /etc/subuid >>/etc/subgid", name, first, RootCount)
	}
	last := first + RootCount - 1
	return fmt.Sprintf("usermod --add-subuids %d-%d --add-subgids %d-%d %s", first, last, first, last, name)
}

// span is a line of a subuid file: ids that a user has.
type span struct {
	owner        string // a name, or an id in decimal
	first, count uint64
}

// readSpans reads a subuid file; one that does not exist is empty.
func readSpans(path string) ([]span, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer f.Close()
	spans, err := parseSpans(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return spans, nil
}

// parseSpans skips lines that do not parse, as newuidmap does.
func parseSpans(r io.Reader) (spans []span, err error) {
	s := bufio.NewScanner(r)
	for s.Scan() {
		f := strings.Split(strings.TrimSpace(s.Text()), ":")
		if len(f) != 3 {
			continue
		}
		first, err1 := strconv.ParseUint(f[1], 10, 32)
		count, err2 := strconv.ParseUint(f[2], 10, 32)
		if err1 == nil && err2 == nil {
			spans = append(spans, span{f[0], first, count})
		}
	}
	return spans, s.Err()
}

// largest returns the first of the largest spans of name (or uid), an empty one when there is none. What holds root, or
// leads to the id that means none, is never used, whoever wrote it there.
func largest(spans []span, name string, uid int) (best span) {
	for _, s := range spans {
		if s.first == 0 || s.first+s.count > math.MaxUint32 {
			continue
		}
		if (s.owner == name || s.owner == strconv.Itoa(uid)) && s.count > best.count {
			best = s
		}
	}
	return best
}

// free returns the first of RootCount ids, from where useradd begins, that are in none of the spans.
func free(spans []span) uint64 {
	first := uint64(100_000)
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	for _, s := range spans {
		if s.first < first+RootCount && first < s.first+s.count {
			first = s.first + s.count
		}
	}
	return first
}
