package wide

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Restart delays: doubled from first to last while the daemon keeps dying within calm of its start.
const (
	restartFirst = 20 * time.Millisecond
	restartLast  = 5 * time.Second
	restartCalm  = 30 * time.Second
)

// runSize bounds the run directory: embedded programs, the root file system's skeleton and small per-sandbox trees.
const runSize = "size=512m,nr_inodes=200k,mode=0711"

// Inner is PID 1 of the wide namespace. It returns the exit status for main once the daemon has ended for good.
func Inner(log *slog.Logger) int {
	status, err := inner(log)
	if err != nil {
		fmt.Fprintln(os.Stderr, "soulbox:", err)
		return max(status, 1)
	}
	return status
}

func inner(log *slog.Logger) (int, error) {
	control, err := unixConn(os.NewFile(fdControl, "control"))
	if err != nil {
		return 1, err
	}
	if word, _, err := readPacket(control); err != nil || word != wordGo {
		return 1, fmt.Errorf("wait for the id maps: %q: %w", word, err)
	}
	if err := becomeRoot(); err != nil {
		return 1, err
	}
	syscall.Umask(0o022) // what is made for sandboxes must be readable there; state lies below a directory of mode 0700
	cfg, err := readConfig(os.NewFile(fdConfig, "config"))
	if err != nil {
		return 1, err
	}
	for fd := fdLock; fd < fdListener+cfg.Listeners; fd++ {
		unix.CloseOnExec(fd)
	}
	if cfg.RunDir, err = mounts(cfg.StateDir); err != nil {
		return 1, err
	}
	s := &supervisor{cfg: cfg, log: log, control: control, outerGone: make(chan struct{}), requests: make(chan *upgrade)}
	go s.listen() // lives as long as the process: its end is the process's end
	return s.loop()
}

// becomeRoot takes id 0 of the namespace, which clears what the clone left: ambient capabilities, groups, and the
// parent-death signal (a change of ids drops it), which is set again.
func becomeRoot() error {
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("drop groups: %w", err)
	}
	if err := syscall.Setresgid(0, 0, 0); err != nil {
		return fmt.Errorf("become group 0 of the wide namespace: %w", err)
	}
	if err := syscall.Setresuid(0, 0, 0); err != nil {
		return fmt.Errorf("become user 0 of the wide namespace: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("set parent-death signal: %w", err)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	return nil
}

// mounts gives the namespace its own proc and the run directory, and returns the latter's path.
func mounts(stateDir string) (string, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "", fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return "", fmt.Errorf("mount proc in the wide namespace: %w", err)
	}
	dir, err := runMountpoint(stateDir)
	if err != nil {
		return "", err
	}
	if err := unix.Mount("soulbox", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, runSize); err != nil {
		return "", fmt.Errorf("mount the run directory on %s: %w", dir, err)
	}
	return dir, nil
}

// runMountpoint finds an empty directory that every id can reach: sandboxes cannot start below a directory of mode
// 0700, and nothing may be left on the host, so one that exists anyway is covered, in this mount namespace only.
func runMountpoint(stateDir string) (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find own executable: %w", err)
	}
	for _, dir := range []string{"/media", "/mnt", "/srv", "/var/empty", "/boot", "/opt", "/var/opt", "/var/local"} {
		list, err := os.ReadDir(dir)
		if err != nil || len(list) > 0 || within(stateDir, dir) || within(exe, dir) {
			continue
		}
		if real, err := filepath.EvalSymlinks(dir); err == nil && real == dir {
			return dir, nil
		}
	}
	return "", errors.New("no empty directory for the run directory: make one of /media, /mnt or /srv an empty directory")
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

type supervisor struct {
	cfg       config
	log       *slog.Logger
	control   *net.UnixConn // to outer
	outerGone chan struct{}
	requests  chan *upgrade

	exe      *os.File // that the daemon is started from; nil: this executable
	daemon   int      // pid, 0 while none runs
	started  time.Time
	delay    time.Duration // before it is started again
	again    <-chan time.Time
	stopping bool
	upgrade  *upgrade // under way; nil: none
}

// loop starts the daemon, restarts it, forwards signals to it and reaps every child, its own and inherited ones.
func (s *supervisor) loop() (int, error) {
	sigs := make(chan os.Signal, 16)
	signal.Notify(sigs, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGCHLD)
	s.delay, s.started = restartFirst, time.Now()
	if err := s.start(nil); err != nil {
		return 1, err
	}
	for {
		select {
		case <-s.outerGone:
			return 1, errors.New("the supervisor in the host's namespaces is gone")
		case u := <-s.requests:
			s.begin(u)
		case <-s.upgrade.ready():
			s.finish()
		case <-s.upgrade.late():
			s.log.Error("the daemon of the new executable is not ready in time: it is killed", "most", readyMost)
			s.kill(syscall.SIGKILL)
		case <-s.again:
			s.again, s.started = nil, time.Now()
			if err := s.startOrFallBack(); err != nil {
				return 1, err
			}
		case sig := <-sigs:
			if sig == syscall.SIGCHLD {
				if ws, ended := s.reap(); ended && s.ended(ws) {
					return statusOf(ws), nil
				}
				continue
			}
			s.stopping = s.stopping || sig == syscall.SIGTERM || sig == syscall.SIGINT
			if s.daemon == 0 && s.stopping {
				return 0, nil
			}
			s.kill(sig.(syscall.Signal))
		}
	}
}

// ended decides what follows on a daemon's end. It is true when that is the end of all.
func (s *supervisor) ended(ws syscall.WaitStatus) bool {
	if s.stopping || !s.cfg.Restart {
		return true
	}
	if s.upgrade != nil {
		s.turn(ws)
		return false
	}
	if !crashed(ws) {
		return true
	}
	if time.Since(s.started) > restartCalm {
		s.delay = restartFirst
	}
	s.log.Error("daemon died, starting it again", "status", statusOf(ws), "delay", s.delay)
	s.again = time.After(s.delay)
	s.delay = min(2*s.delay, restartLast)
	return false
}

// kill signals the daemon, if there is one.
func (s *supervisor) kill(sig syscall.Signal) {
	if s.daemon != 0 {
		_ = syscall.Kill(s.daemon, sig)
	}
}

// crashed tells a killed or panicked daemon (the Go runtime exits with 2) from one that decided to end.
func crashed(ws syscall.WaitStatus) bool { return ws.Signaled() || ws.ExitStatus() == 2 }

func statusOf(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// reap collects all children that have ended and says whether the daemon was one.
func (s *supervisor) reap() (status syscall.WaitStatus, ended bool) {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return status, ended
		}
		if pid == s.daemon {
			status, ended, s.daemon = ws, true, 0
		}
	}
}

// start starts the daemon. It writes a byte to ready, which may be nil, once it is ready.
func (s *supervisor) start(ready *os.File) error {
	s.cfg.Generation++
	s.cfg.Ready = ready != nil
	cfg, err := configFile(s.cfg)
	if err != nil {
		return err
	}
	defer cfg.Close()
	files := []uintptr{0, 1, 2, ^uintptr(0), fdLock, cfg.Fd(), fdState}
	if ready != nil {
		files[fdReady] = ready.Fd()
	}
	for i := range s.cfg.Listeners {
		files = append(files, uintptr(fdListener+i))
	}
	path := s.executable()
	pid, _, err := syscall.StartProcess(path, append([]string{DaemonName}, s.cfg.Args...), &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: files,
		Sys:   &syscall.SysProcAttr{},
	})
	if err != nil {
		return fmt.Errorf("start the daemon: %w", (&exec.Error{Name: path, Err: err}))
	}
	s.daemon = pid
	return nil
}
