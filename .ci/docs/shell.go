package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// endTime is how long what a document started may take to end, before it is killed.
const endTime = 30 * time.Second

// errShellEnded says that a command ended its shell, as a failing one does in a block of commands.
var errShellEnded = errors.New("it failed")

// shell is the one of a document. Everything started in it is in its process group.
type shell struct {
	dir      string // for scripts and their output
	cmd      *exec.Cmd
	input    io.WriteCloser
	statuses *bufio.Reader
	count    int
}

// startShell starts a shell in work, with nothing in its environment but env. When ctx ends it does.
func startShell(ctx context.Context, dir, work string, env []string) (*shell, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	defer writer.Close()
	s := &shell{dir: dir, cmd: exec.CommandContext(ctx, "bash", "--noprofile", "--norc"), statuses: bufio.NewReader(reader)}
	s.cmd.Dir, s.cmd.Env, s.cmd.ExtraFiles = work, env, []*os.File{writer}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if s.input, err = s.cmd.StdinPipe(); err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start a shell: %w", err), reader.Close())
	}
	return s, nil
}

// run runs a script, and returns the path of what it prints and its exit status. With strict any failing command ends it,
// and the shell.
func (s *shell) run(ctx context.Context, script string, strict bool) (output string, status int, err error) {
	s.count++
	file := filepath.Join(s.dir, strconv.Itoa(s.count))
	output = file + ".out"
	if strict {
		script = "set -eo pipefail\n" + script + "\nset +eo pipefail\n"
	}
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		return "", 0, fmt.Errorf("write script: %w", err)
	}
	// The script sees the status of the one before, and what it leaves running must not hold the pipe of statuses.
	if _, err := fmt.Fprintf(s.input, "(exit ${soulbox_status:-0}); . %s </dev/null >%s 2>&1 3>&-; soulbox_status=$?; echo $soulbox_status >&3\n", file, output); err != nil {
		return output, 0, errShellEnded
	}
	stop := context.AfterFunc(ctx, func() { s.signal(syscall.SIGKILL) })
	defer stop()
	line, err := s.statuses.ReadString('\n')
	switch {
	case ctx.Err() != nil:
		return output, 0, fmt.Errorf("run command: %w", context.Cause(ctx))
	case err != nil:
		return output, 0, errShellEnded
	}
	status, err = strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return output, 0, fmt.Errorf("read status: %w", err)
	}
	return output, status, nil
}

// Close ends the shell and all that was started in it.
func (s *shell) Close() error {
	_ = s.input.Close() // it ends with its input
	err := s.cmd.Wait()
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		err = nil // the status of the last command, which has been judged
	}
	s.signal(syscall.SIGTERM)
	for deadline := time.Now().Add(endTime); s.signal(0); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.signal(syscall.SIGKILL)
			return errors.Join(err, fmt.Errorf("what was left running did not end within %s of SIGTERM", endTime))
		}
	}
	return err
}

// signal sends a signal to all processes of the shell, and reports whether there are any.
func (s *shell) signal(sig syscall.Signal) bool {
	return syscall.Kill(-s.cmd.Process.Pid, sig) == nil
}
