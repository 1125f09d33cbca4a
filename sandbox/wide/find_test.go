package wide

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestHolders(t *testing.T) {
	const locks = `1: POSIX  ADVISORY  WRITE 11 fe:01:77 0 EOF
2: FLOCK  ADVISORY  WRITE 12 fe:01:77 0 EOF
2: -> FLOCK  ADVISORY  WRITE 13 fe:01:77 0 EOF
3: FLOCK  ADVISORY  WRITE 14 fe:01:177 0 EOF
4: FLOCK  ADVISORY  READ  15 00:2a:77 0 EOF
5: FLOCK  ADVISORY  WRITE 0 fe:01:77 0 EOF
6: OFDLCK ADVISORY  WRITE -1 fe:01:77 0 EOF
7: FLOCK
`
	got, err := holders(strings.NewReader(locks), 77)
	if want := []int{12, 15}; err != nil || !slices.Equal(got, want) {
		t.Errorf("holders = %v, %v, want %v", got, err, want)
	}
	if got, err := holders(strings.NewReader(strings.Repeat("x", 1<<17)), 77); err == nil {
		t.Errorf("holders of a line without end = %v, want an error", got)
	}
}

func TestSupervisor(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if pid, err := Supervisor(dir); pid != 0 || err != nil {
		t.Errorf("Supervisor of an absent directory = %d, %v, want 0", pid, err)
	}
	f, err := openState(dir, Range{UIDBase: 1, GIDBase: 1, Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	if pid, err := Supervisor(dir); pid != os.Getpid() || err != nil {
		t.Errorf("Supervisor = %d, %v, want this process, %d", pid, err, os.Getpid())
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if pid, err := Supervisor(dir); pid != 0 || err != nil {
		t.Errorf("Supervisor of a directory nobody holds = %d, %v, want 0", pid, err)
	}
}
