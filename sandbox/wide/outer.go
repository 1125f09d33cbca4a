package wide

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// The argv[0] by which main knows its role.
const (
	InnerName  = "soulbox-inner"
	DaemonName = "soulbox-daemon"
)

// Descriptors of inner and of the daemon. From fdListener on come the listening sockets, as many as Options.Listen opened.
const (
	fdControl  = 3 // inner: packets from outer, see channel.go; EOF when outer is gone
	fdReady    = 3 // daemon: pipe to inner, one byte when it is ready
	fdLock     = 4
	fdConfig   = 5
	fdState    = 6
	fdListener = 7
)

// Options say what [Run] starts.
type Options struct {
	Args     []string // the daemon's arguments, without argv[0]
	StateDir string   // absolute; made 0700 when missing
	Range    Range
	Lock     *os.File // id lock; the supervisor holds this description for as long as sandboxes can live
	Restart  bool     // start the daemon again when it is killed

	// Listen opens the listening sockets that every daemon inherits, once the state directory is this supervisor's alone;
	// nil opens none. Run closes them.
	Listen func() ([]*os.File, error)
	// Dying is called when the wide namespace ends, from another goroutine, while what runs there has been killed and need not
	// be dead yet: on cgroup v1 what is frozen dies only when it is thawed. It may be nil.
	Dying func()
}

// config travels from outer to inner to the daemon in a memfd.
type config struct {
	Args       []string `json:"args"`
	StateDir   string   `json:"stateDir"`
	Range      Range    `json:"range"`
	Restart    bool     `json:"restart"`
	Listeners  int      `json:"listeners"`
	RunDir     string   `json:"runDir"`
	Generation int      `json:"generation"`
	UID        int      `json:"uid"`
	Ready      bool     `json:"ready"` // fdReady is there
}

// Run starts the wide namespace and returns the daemon's exit status when everything in it has ended.
// Canceling ctx asks the daemon to stop, like SIGTERM.
func Run(ctx context.Context, o Options) (int, error) {
	state, err := openState(o.StateDir, o.Range)
	if err != nil {
		return 1, err
	}
	defer state.Close()
	if err := canMap(); err != nil {
		return 1, err
	}
	var listeners []*os.File
	if o.Listen != nil {
		if listeners, err = o.Listen(); err != nil {
			return 1, err
		}
	}
	defer closeAll(listeners)
	cfg, err := configFile(config{Args: o.Args, StateDir: o.StateDir, Range: o.Range, Restart: o.Restart, Listeners: len(listeners), UID: os.Getuid()})
	if err != nil {
		return 1, err
	}
	defer cfg.Close()
	control, theirs, err := newChannel()
	if err != nil {
		return 1, err
	}
	defer control.Close() // after inner is gone; before, its EOF would end inner
	files := append([]*os.File{theirs, o.Lock, cfg, state}, listeners...)

	// The parent-death signal is tied to the thread that forks: keep it for good.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	sigs := make(chan os.Signal, 8)
	signal.Notify(sigs, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(sigs)
	cmd, err := startInner(files)
	if err = errors.Join(err, theirs.Close()); err != nil {
		return 1, err
	}
	if err := release(ctx, cmd.Process.Pid, o.Range, control); err != nil {
		return 1, errors.Join(err, cmd.Process.Kill(), ignoreExit(cmd.Wait()))
	}
	if o.Restart {
		door, err := openDoor(o.StateDir, control)
		if err != nil {
			return 1, errors.Join(err, cmd.Process.Kill(), ignoreExit(cmd.Wait()))
		}
		defer door.Close()
	}
	var wg sync.WaitGroup
	if err := afterInner(control, &wg, o.Dying); err != nil {
		return 1, errors.Join(err, cmd.Process.Kill(), ignoreExit(cmd.Wait()))
	}
	done := make(chan struct{})
	wg.Go(func() { forward(ctx, cmd.Process, sigs, done) })
	err = cmd.Wait()
	close(done)
	wg.Wait()
	if ignoreExit(err) != nil {
		return 1, fmt.Errorf("wait for the wide namespace: %w", err)
	}
	return exitStatus(cmd.ProcessState), nil
}

// afterInner has dying called when inner's end of control is closed: when it dies, before the kernel waits for all that it
// held to die.
func afterInner(control *net.UnixConn, wg *sync.WaitGroup, dying func()) error {
	if dying == nil {
		return nil
	}
	hangup, err := dup(control)
	if err != nil {
		return err
	}
	wg.Go(func() {
		awaitHangup(hangup)
		dying()
	})
	return nil
}

// closeAll closes what inner has copies of.
func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // a socket that nobody here reads
	}
}

// startInner starts this executable as PID 1 of new namespaces, where it waits on files[0].
func startInner(files []*os.File) (*exec.Cmd, error) {
	cmd := exec.Command("/proc/self/exe") //nolint:noctx // it is to end when it has taken everything apart, not before
	cmd.Args = []string{InnerName}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:   syscall.SIGKILL,
		AmbientCaps: allCaps(),
		// What a terminal sends, such as Ctrl-C's signal, goes to all in its foreground group. Only outer may get it, and
		// forwards it: the daemon could settle nothing if its helper ended first.
		Setsid: true,
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the wide namespace (user namespaces may be restricted here; see soulbox doctor): %w", err)
	}
	return cmd, nil
}

// release writes inner's id maps, gives up what that took, and lets inner go on.
func release(ctx context.Context, pid int, r Range, control io.Writer) error {
	if err := writeMaps(ctx, pid, r); err != nil {
		return err
	}
	if err := dropCaps(); err != nil {
		return err
	}
	if _, err := control.Write([]byte(wordGo)); err != nil {
		return fmt.Errorf("release inner: %w", err)
	}
	return nil
}

func forward(ctx context.Context, p *os.Process, sigs <-chan os.Signal, done <-chan struct{}) {
	cancel := ctx.Done()
	for {
		select {
		case s := <-sigs:
			_ = p.Signal(s) // gone already: Wait is about to return
		case <-cancel:
			_ = p.Signal(syscall.SIGTERM)
			cancel = nil
		case <-done:
			return
		}
	}
}

func ignoreExit(err error) error {
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil
	}
	return err
}

func exitStatus(s *os.ProcessState) int {
	ws := s.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// canMap reports whether this process can write the maps itself or has newuidmap to do it.
func canMap() error {
	if mapsItself() {
		return nil
	}
	for _, tool := range []string{"newuidmap", "newgidmap"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is missing, it maps subordinate ids for plain users: run as root: apt-get install uidmap", tool)
		}
	}
	return nil
}

// mapsItself is true for root and where a unit grants CAP_SETUID and CAP_SETGID as ambient capabilities.
func mapsItself() bool {
	set, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_SETUID, 0, 0, 0)
	if err != nil || set != 1 {
		return false
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return false
	}
	const want = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	return data[0].Effective&want == want
}

func writeMaps(ctx context.Context, pid int, r Range) error {
	uid, gid := os.Getuid(), os.Getgid()
	if mapsItself() {
		for _, m := range []struct {
			name     string
			own, sub uint32
		}{{"uid_map", uint32(uid), r.UIDBase}, {"gid_map", uint32(gid), r.GIDBase}} {
			path := filepath.Join("/proc", strconv.Itoa(pid), m.name)
			if err := os.WriteFile(path, fmt.Appendf(nil, "0 %d 1\n1 %d %d\n", m.own, m.sub, r.Count), 0); err != nil {
				return fmt.Errorf("write %s: %w", path, err)
			}
		}
		return nil
	}
	for _, m := range []struct {
		tool     string
		own, sub uint32
	}{{"newuidmap", uint32(uid), r.UIDBase}, {"newgidmap", uint32(gid), r.GIDBase}} {
		args := []string{strconv.Itoa(pid), "0", fmt.Sprint(m.own), "1", "1", fmt.Sprint(m.sub), fmt.Sprint(r.Count)}
		if out, err := exec.CommandContext(ctx, m.tool, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s %v: %w: %s", m.tool, args, err, out)
		}
	}
	return nil
}

func allCaps() []uintptr {
	caps := make([]uintptr, 0, unix.CAP_LAST_CAP+1)
	for c := uintptr(0); c <= lastCap(); c++ {
		caps = append(caps, c)
	}
	return caps
}

// lastCap is the highest capability the running kernel knows.
func lastCap() uintptr {
	for c := uintptr(63); c > 0; c-- {
		if v, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0); err == nil && v >= 0 {
			return c
		}
	}
	return unix.CAP_LAST_CAP
}

func configFile(c config) (*os.File, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	fd, err := unix.MemfdCreate("soulbox-config", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make configuration memfd: %w", err)
	}
	f := os.NewFile(uintptr(fd), "soulbox-config")
	if _, err := f.WriteAt(b, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("write configuration memfd: %w", err), f.Close())
	}
	return f, nil
}

func readConfig(f *os.File) (config, error) {
	var c config
	st, err := f.Stat()
	if err != nil {
		return c, fmt.Errorf("stat configuration memfd: %w", err)
	}
	b := make([]byte, st.Size())
	if _, err := f.ReadAt(b, 0); err != nil {
		return c, fmt.Errorf("read configuration memfd: %w", err)
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("decode configuration memfd: %w", err)
	}
	return c, nil
}
