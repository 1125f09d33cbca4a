package systemd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// hidden are directories that a system service of SoulBox does not see.
var hidden = [...]string{"/home", "/root", "/run/user", "/tmp", "/var/tmp"}

// checkExecutable refuses a file that a system service cannot start, or that others than root could replace: it gets
// the right to map ids.
func checkExecutable(path string) error {
	const fix = "copy it: install -m 755 %s /usr/local/bin/soulbox, and run that"
	for _, dir := range hidden {
		if strings.HasPrefix(path, dir+"/") {
			return fmt.Errorf("a system service does not see %s, which is below %s; "+fix, path, dir, path)
		}
	}
	for at := path; ; at = filepath.Dir(at) {
		info, err := os.Lstat(at)
		if err != nil {
			return fmt.Errorf("check the executable: %w", err)
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || st.Uid != 0 || st.Mode&0o022 != 0 && info.Mode()&os.ModeSymlink == 0 {
			return fmt.Errorf("others than root can change %s, and with it what the service runs; "+fix, at, path)
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}
