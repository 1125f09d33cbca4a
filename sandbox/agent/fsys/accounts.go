package fsys

import (
	"bytes"
	"math"
	"path"
	"strconv"
	"unicode/utf8"
)

// maxAccounts bounds how much of /etc/passwd and of /etc/group is read, in bytes.
const maxAccounts = 1 << 20

// account is a line of /etc/passwd.
type account struct {
	name, home string
	uid, gid   uint32
}

// group is a line of /etc/group.
type group struct {
	name    string
	gid     uint32
	members []string
}

// accounts are the users and groups of a slot.
type accounts struct {
	users  []account
	groups []group
}

// readAccounts reads both tables. What cannot be read counts as empty.
func readAccounts(r *Root) accounts {
	passwd, _ := r.readSmall("/etc/passwd", maxAccounts)
	groups, _ := r.readSmall("/etc/group", maxAccounts)
	return accounts{users: parsePasswd(passwd), groups: parseGroup(groups)}
}

// parsePasswd returns the lines of /etc/passwd that can be used, in order.
func parsePasswd(b []byte) []account {
	var users []account
	for line := range bytes.Lines(b) {
		f := bytes.Split(bytes.TrimRight(line, "\r\n"), []byte(":"))
		if len(f) < 6 || !validName(f[0]) {
			continue
		}
		uid, ok1 := parseID(f[2])
		gid, ok2 := parseID(f[3])
		if !ok1 || !ok2 {
			continue
		}
		home := string(f[5])
		if !path.IsAbs(home) || bytes.IndexByte(f[5], 0) >= 0 {
			home = "/"
		}
		users = append(users, account{name: string(f[0]), home: home, uid: uid, gid: gid})
	}
	return users
}

// parseGroup returns the lines of /etc/group that can be used, in order.
func parseGroup(b []byte) []group {
	var groups []group
	for line := range bytes.Lines(b) {
		f := bytes.Split(bytes.TrimRight(line, "\r\n"), []byte(":"))
		if len(f) < 3 || !validName(f[0]) {
			continue
		}
		gid, ok := parseID(f[2])
		if !ok {
			continue
		}
		g := group{name: string(f[0]), gid: gid}
		if len(f) > 3 {
			for m := range bytes.SplitSeq(f[3], []byte(",")) {
				if len(m) > 0 {
					g.members = append(g.members, string(m))
				}
			}
		}
		groups = append(groups, g)
	}
	return groups
}

func validName(b []byte) bool {
	return len(b) > 0 && len(b) <= 256 && b[0] != '#' && utf8.Valid(b) && bytes.IndexByte(b, 0) < 0
}

// parseID reads an id. The highest one stands for "no change" in system calls and is nobody's.
func parseID(b []byte) (uint32, bool) {
	n, err := strconv.ParseUint(string(b), 10, 32)
	return uint32(n), err == nil && n < math.MaxUint32
}

// lookup finds a user by name, or else by number.
func (a accounts) lookup(user string) (Identity, bool) {
	for _, u := range a.users {
		if u.name == user {
			return a.identity(u), true
		}
	}
	if id, ok := parseID([]byte(user)); ok {
		for _, u := range a.users {
			if u.uid == id {
				return a.identity(u), true
			}
		}
	}
	return Identity{}, false
}

func (a accounts) identity(u account) Identity {
	id := Identity{UID: u.uid, GID: u.gid, Name: u.name, Home: u.home}
	for _, g := range a.groups {
		if len(id.Groups) == maxGroups {
			break
		}
		for _, m := range g.members {
			if m == u.name {
				id.Groups = append(id.Groups, g.gid)
				break
			}
		}
	}
	return id
}

// names are what ids are called.
type names struct{ users, groups map[uint32]string }

func (a accounts) names() names {
	n := names{users: make(map[uint32]string, len(a.users)), groups: make(map[uint32]string, len(a.groups))}
	for _, u := range a.users {
		if _, ok := n.users[u.uid]; !ok {
			n.users[u.uid] = u.name
		}
	}
	for _, g := range a.groups {
		if _, ok := n.groups[g.gid]; !ok {
			n.groups[g.gid] = g.name
		}
	}
	return n
}

func nameOf(names map[uint32]string, id uint32) string {
	if name, ok := names[id]; ok {
		return name
	}
	return strconv.FormatUint(uint64(id), 10)
}
