package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
)

// SessionHome is the home of [UserID] in a session. Whoever makes a sandbox makes it: its owner is the sandbox's own.
const SessionHome = "/home/user"

// sessionDirs are directories that a session has beside [hostDirs], and those whose modes differ.
func sessionDirs() map[string]fs.FileMode {
	return map[string]fs.FileMode{
		"tmp": 0o777 | fs.ModeSticky, "var/tmp": 0o777 | fs.ModeSticky, "root": 0o700, "run": 0o755, "run/lock": 0o777 | fs.ModeSticky, "var/lib": 0o755,
		"var/cache": 0o755, "var/log": 0o755, "var/spool": 0o755, "var/mail": 0o755, "etc/sudoers.d": 0o755,
		"etc/pam.d": 0o755,
	}
}

// pamFree lets root become anybody, and nobody become root by a password: there are none. Sudo asks for none.
const pamFree = "auth sufficient pam_rootok.so\nauth required pam_deny.so\naccount required pam_permit.so\nsession required pam_permit.so\n"

// sessionFile is a generated file of a session's /etc.
type sessionFile struct {
	name, data string
	mode       fs.FileMode
}

func sessionFiles() []sessionFile {
	return []sessionFile{
		{"passwd", "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\nuser:x:1000:1000:user:/home/user:/bin/bash\n" +
			"_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n", 0o644},
		{"group", "root:x:0:\ndaemon:x:1:\ntty:x:5:\nsudo:x:27:user\nshadow:x:42:\nusers:x:100:\nuser:x:1000:\nnogroup:x:65534:\n", 0o644},
		// No password fits "*"; sudo asks for none.
		{"shadow", "root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\nuser:*:19000:0:99999:7:::\n_apt:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n", 0o600},
		{"sudoers", "Defaults env_reset, !fqdn, !syslog\nDefaults secure_path=\"" + SearchPath + "\"\nroot ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL:ALL) NOPASSWD: ALL\n@includedir /etc/sudoers.d\n", 0o440},
		{"hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n", 0o644},
		{"hostname", "sandbox\n", 0o644},
		{"resolv.conf", "", 0o644},
		{"nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n", 0o644},
		{"profile", "export PATH=" + SearchPath + "\n[ -n \"$PS1\" ] && PS1='\\u@\\h:\\w\\$ '\n" +
			"if [ -d /etc/profile.d ]; then for f in /etc/profile.d/*.sh; do [ -r \"$f\" ] && . \"$f\"; done; unset f; fi\n", 0o644},
		{"pam.d/other", pamFree, 0o644},
		{"pam.d/sudo", pamFree, 0o644},
		{"pam.d/su", pamFree, 0o644},
		{"shells", "/bin/sh\n/bin/bash\n", 0o644},
		{"environment", "", 0o644},
		{"login.defs", "UID_MIN 1000\nUID_MAX 1030\nGID_MIN 1000\nGID_MAX 1030\nSYS_UID_MIN 100\nSYS_UID_MAX 999\nSYS_GID_MIN 100\nSYS_GID_MAX 999\nENCRYPT_METHOD SHA512\nUMASK 022\n", 0o644},
	}
}

// writeSession makes what a session has in place of [writeEtc]'s files. Ids beyond 1030 are not the sandbox's, which
// login.defs says to useradd.
func writeSession(root *os.Root) error {
	for name, mode := range sessionDirs() {
		if err := root.MkdirAll(name, 0o755); err != nil {
			return fmt.Errorf("make directory %s: %w", name, err)
		}
		if err := root.Chmod(name, mode); err != nil {
			return fmt.Errorf("make directory %s: %w", name, err)
		}
	}
	for _, f := range sessionFiles() {
		name := path.Join("etc", f.name)
		if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("replace the host's %s: %w", name, err)
		}
		if err := writeFile(root, name, []byte(f.data), f.mode); err != nil {
			return err
		}
	}
	if err := root.Symlink("../proc/self/mounts", "etc/mtab"); err != nil {
		return fmt.Errorf("make link: %w", err)
	}
	return nil
}
