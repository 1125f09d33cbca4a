package debian

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrMissing means that the host has no mmdebstrap.
var ErrMissing = errors.New("the host has no mmdebstrap: apt-get install mmdebstrap")

// ErrFailed means that mmdebstrap could not make it. Its last words are in the error.
var ErrFailed = errors.New("mmdebstrap failed")

const (
	// ids is how many ids a build has: Debian's own, and nobody's.
	ids = 65535
	// stopTime is what a build that is stopped is granted to end.
	stopTime  = 5 * time.Second
	lastWords = 20 // lines
	maxLine   = 400
)

// Build writes the root file system that o describes to w, as a tar archive, and tells say what mmdebstrap says. tmp is a
// directory for what is in between, which the first of the ids must own and reach; base is the first id, in this user
// namespace, of those that the build runs as.
func Build(ctx context.Context, o Options, tmp string, base int, w io.Writer, say func(line string)) error {
	args, env, err := o.Command(time.Now())
	if err != nil {
		return err
	}
	program, err := exec.LookPath(args[0])
	if err != nil {
		return ErrMissing
	}
	cmd := exec.CommandContext(ctx, program, args[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.WaitDelay = append(env, "TMPDIR="+tmp), "/", w, stopTime
	maps := []syscall.SysProcIDMap{{ContainerID: 0, HostID: base, Size: ids}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		UidMappings: maps, GidMappings: maps, GidMappingsEnableSetgroups: true, Credential: &syscall.Credential{}, Pdeathsig: syscall.SIGKILL,
	}
	words, ours, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("run mmdebstrap: %w", err)
	}
	cmd.Stderr = ours
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("run mmdebstrap: %w", err), words.Close(), ours.Close())
	}
	var last []string
	var wg sync.WaitGroup
	wg.Go(func() { last = listen(words, say) })
	err = cmd.Wait()
	if cerr := ours.Close(); err == nil {
		err = cerr
	}
	wg.Wait()
	_ = words.Close() // it was read
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("run mmdebstrap: %w", context.Cause(ctx))
	case err != nil:
		return fmt.Errorf("%w: %w: %s", ErrFailed, err, strings.Join(last, "; "))
	}
	return nil
}

// listen passes on what mmdebstrap says, and returns the end of it.
func listen(r io.Reader, say func(string)) (last []string) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		line = line[:min(len(line), maxLine)]
		say(line)
		last = append(last, line)
		last = last[max(0, len(last)-lastWords):]
	}
	_, _ = io.Copy(io.Discard, r) // a line too long ends listening, not the build
	return last
}
