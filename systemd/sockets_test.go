package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestMain lets this program stand for one that a service manager started: see TestListening.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "listening" {
		s, err := Listening()
		switch {
		case errors.Is(err, errTooMany):
			fmt.Print("too many")
		case errors.Is(err, errNoListen):
			fmt.Print("no listener")
		case err != nil:
			fmt.Print("error")
		default:
			fmt.Printf("tcp %t unix %t", s.TCP != nil, s.Unix != nil)
		}
		for _, name := range []string{"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"} {
			if _, there := os.LookupEnv(name); there {
				fmt.Print(" and ", name)
			}
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestListening(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	files := sockets(t)
	tcp, unix, datagram, plain := files[0], files[1], files[2], files[3]
	const own = "$$" // the program's own pid
	for _, tt := range []struct {
		name     string
		pid, fds string
		files    []*os.File
		want     string
	}{
		{"both", own, "2", []*os.File{tcp, unix}, "tcp true unix true"},
		{"the other way about", own, "2", []*os.File{unix, tcp}, "tcp true unix true"},
		{"one", own, "1", []*os.File{unix}, "tcp false unix true"},
		{"fewer than there are", own, "1", []*os.File{tcp, unix}, "tcp true unix false"},
		{"none", own, "0", nil, "tcp false unix false"},
		{"no number", own, "2x", []*os.File{tcp, unix}, "tcp false unix false"},
		{"negative", own, "-1", []*os.File{tcp}, "tcp false unix false"},
		{"for another process", "1", "2", []*os.File{tcp, unix}, "tcp false unix false"},
		{"for none", "", "2", []*os.File{tcp, unix}, "tcp false unix false"},
		{"twice the same kind", own, "2", []*os.File{tcp, tcp}, "too many"},
		{"a datagram socket", own, "2", []*os.File{tcp, datagram}, "no listener"},
		{"no socket", own, "1", []*os.File{plain}, "error"},
		{"more than there are", own, "2", []*os.File{tcp}, "error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command("sh", "-c", `LISTEN_PID=`+tt.pid+` exec "$0" listening`, exe)
			cmd.Env = append(os.Environ(), "LISTEN_FDS="+tt.fds, "LISTEN_FDNAMES=a:b")
			cmd.ExtraFiles = tt.files
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != tt.want {
				t.Errorf("Listening = %q, %v, want %q", out, err, tt.want)
			}
		})
	}
}

// sockets opens a TCP and a unix listener, a datagram socket and a file.
func sockets(t *testing.T) []*os.File {
	t.Helper()
	dir := t.TempDir()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unix, err := net.Listen("unix", filepath.Join(dir, "stream"))
	if err != nil {
		t.Fatal(err)
	}
	datagram, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "datagram"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	var files []*os.File
	for _, s := range []interface{ File() (*os.File, error) }{tcp.(*net.TCPListener), unix.(*net.UnixListener), datagram} {
		f, err := s.File()
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	plain, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, plain)
	t.Cleanup(func() {
		for _, c := range []interface{ Close() error }{tcp, unix, datagram, files[0], files[1], files[2], files[3]} {
			c.Close()
		}
	})
	return files
}
