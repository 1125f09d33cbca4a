package library

import (
	"bytes"
	"cmp"
	"strconv"
	"strings"

	"github.com/soulbox/soulbox/images/layer"
)

// ownIDs bounds the ids that a sandbox has, as it sees them, beside nobody's.
const ownIDs = 1031

// hasID tells whether a sandbox has an id.
func hasID(id int) bool { return id >= 0 && id < ownIDs || id == layer.Nobody }

// resolveUser returns the name in /etc/passwd of the user that an image's configuration names, "user", "user:group" or
// ids, and what /etc/passwd must be for that, nil when it is right: with a line for an id that has none, and with nobody's
// id in place of one that no sandbox has. Sandboxes take a user's group from there, not from the configuration. An empty
// user is root. A name that is unknown is returned as it is.
func resolveUser(config string, passwd []byte) (name string, changed []byte) {
	user, group, _ := strings.Cut(config, ":")
	user = cmp.Or(user, "root")
	id, err := strconv.Atoi(user)
	numeric := err == nil
	lines := bytes.Split(bytes.TrimRight(passwd, "\n"), []byte("\n"))
	for i, line := range lines {
		f := strings.Split(string(line), ":")
		if len(f) < 6 {
			continue
		}
		uid, err := strconv.Atoi(f[2])
		if err != nil || f[0] != user && (!numeric || uid != id) {
			continue
		}
		if hasID(uid) {
			return f[0], nil
		}
		f[2], f[3] = strconv.Itoa(layer.Nobody), strconv.Itoa(layer.Nobody)
		lines[i] = []byte(strings.Join(f, ":"))
		return f[0], append(bytes.Join(lines, []byte("\n")), '\n')
	}
	switch {
	case numeric:
		gid, err := strconv.Atoi(group)
		if err != nil || !hasID(gid) {
			gid = 0
		}
		if !hasID(id) {
			id, gid = layer.Nobody, layer.Nobody
		}
		name = "id" + user
		return name, account(passwd, name, id, gid, "/")
	case user == "root":
		return user, account(passwd, user, 0, 0, "/root")
	}
	return user, nil
}

// account returns passwd with one line more.
func account(passwd []byte, name string, uid, gid int, home string) []byte {
	out := bytes.Clone(passwd)
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	return append(out, name+":x:"+strconv.Itoa(uid)+":"+strconv.Itoa(gid)+"::"+cleanHome(home)+":/bin/sh\n"...)
}
