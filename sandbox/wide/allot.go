package wide

import (
	"bufio"
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

// Ids that are never allotted, though no file names them: those that systemd's documentation gives to containers, and
// root's own range. useradd stops before 600,100,000.
var reserved = [...]span{{"", 524_288, 1_879_048_192 - 524_288}, {"", RootBase, math.MaxUint32 - RootBase}}

// errNoFreeIDs is returned where so many subordinate ids are in no span.
var errNoFreeIDs = errors.New("no range of subordinate ids is free")

// Allotment returns the arguments of usermod that give a user subordinate ids nobody else has, nil when it has them.
// The user need not exist yet.
func Allotment(name string) ([]string, error) {
	var taken [2][]span // of user and of group ids
	for i, file := range []string{"/etc/subuid", "/etc/subgid"} {
		var err error
		if taken[i], err = readSpans(file); err != nil {
			return nil, err
		}
	}
	uid := -1
	if u, err := user.Lookup(name); err == nil {
		if uid, err = strconv.Atoi(u.Uid); err != nil {
			return nil, fmt.Errorf("user id of %s: %w", name, err)
		}
	}
	if min(largest(taken[0], name, uid).count, largest(taken[1], name, uid).count) >= minCount {
		return nil, nil
	}
	all := append(taken[0], taken[1]...)
	for _, file := range []string{"/etc/passwd", "/etc/group"} {
		ids, err := readIDs(file)
		if err != nil {
			return nil, err
		}
		all = append(all, ids...)
	}
	first, err := allot(all)
	if err != nil {
		return nil, err
	}
	ids := fmt.Sprintf("%d-%d", first, first+RootCount-1)
	return []string{"--add-subuids", ids, "--add-subgids", ids, name}, nil
}

// allot returns the first of RootCount ids that are in none of the spans and not reserved.
func allot(taken []span) (uint64, error) {
	// What overflows the id space would be before everything else: it takes what it can.
	all := slices.Clone(taken)
	first := free(append(all, reserved[:]...))
	if first+RootCount > math.MaxUint32 {
		return 0, errNoFreeIDs
	}
	return first, nil
}

// readIDs reads the ids that a file of users or groups names; in both they are the third column.
func readIDs(path string) ([]span, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer f.Close()
	ids, err := parseIDs(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return ids, nil
}

// parseIDs skips lines that do not parse, as the C library does.
func parseIDs(r io.Reader) (ids []span, err error) {
	s := bufio.NewScanner(r)
	for s.Scan() {
		f := strings.Split(s.Text(), ":")
		if len(f) < 3 {
			continue
		}
		if id, err := strconv.ParseUint(f[2], 10, 32); err == nil {
			ids = append(ids, span{f[0], id, 1})
		}
	}
	return ids, s.Err()
}
