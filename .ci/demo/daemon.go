package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// stopTime is what a daemon is granted between SIGTERM and SIGKILL.
const stopTime = 30 * time.Second

// daemon is a running `soulbox serve`.
type daemon struct {
	url, key string
	cmd      *exec.Cmd
	exited   chan error // what Wait returned
	log      *bytes.Buffer
}

// startDaemon returns when the daemon is ready: when a sandbox has run a program.
func startDaemon(ctx context.Context, soulbox, state, key string) (_ *daemon, err error) {
	d := &daemon{key: key, exited: make(chan error, 1), log: &bytes.Buffer{}}
	d.cmd = exec.Command(soulbox, "serve", "--state-dir", state, "--listen", "127.0.0.1:0")
	d.cmd.Env = append(os.Environ(), "SOULBOX_API_KEY="+key)
	d.cmd.Stderr = d.log
	// Ctrl-C is for this process, which then stops the daemon in order; when this process is killed the daemon stops too.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe for the daemon: %w", err)
	}
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", soulbox, err)
	}
	lines := bufio.NewReader(out)
	first, readErr := lines.ReadString('\n')
	go func() {
		_, copyErr := io.Copy(io.Discard, lines) // Wait must not close the pipe under a reader
		d.exited <- errors.Join(copyErr, d.cmd.Wait())
	}()
	d.url = strings.TrimSpace(first)
	if readErr != nil {
		err = errors.New("it ended before it printed its URL")
	} else {
		err = d.ready(ctx)
	}
	if err != nil {
		err = errors.Join(err, d.stop()) // the log is complete only then
		return nil, fmt.Errorf("start the daemon: %w\n%s", err, d.log)
	}
	return d, nil
}

// ready waits until /readyz answers 200.
func (d *daemon) ready(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	last := errors.New("no answer yet")
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+"/readyz", nil)
		if err != nil {
			return fmt.Errorf("ask whether it is ready: %w", err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // for the error's text only
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(text))
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-tick.C:
		case err := <-d.exited:
			d.exited <- err
			return fmt.Errorf("it ended before it was ready: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("it is not ready: %w", last)
		}
	}
}

// stop asks the daemon to end, and returns when it has.
func (d *daemon) stop() error {
	_ = d.cmd.Process.Signal(syscall.SIGTERM) // gone already: exited says so
	patience := time.NewTimer(stopTime)
	defer patience.Stop()
	select {
	case err := <-d.exited:
		return err
	case <-patience.C:
		_ = d.cmd.Process.Kill()
		return fmt.Errorf("still there after %s: killed: %w", stopTime, <-d.exited)
	}
}

// execution is what the demo shows of the API's answer.
type execution struct {
	Verdict  string
	Stdout   string
	Stderr   string
	ExitCode int
	Usage    usage
	Compile  *struct {
		Verdict string
		Stderr  string
		Usage   usage
	}
}

type usage struct {
	WallTime        duration
	UserTime        duration
	SystemTime      duration
	PeakMemoryBytes int64 `json:",string"`
}

// duration is a protobuf duration in JSON: seconds with an "s", which Go reads as well.
type duration time.Duration

func (d *duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = duration(v)
	return err
}

// execute runs one program and waits for its end.
func (d *daemon) execute(ctx context.Context, language, code string) (*execution, error) {
	body, err := json.Marshal(map[string]string{"language": language, "code": code, "stdin": stdin})
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url+"/v1/executions", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+d.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("send request: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var failure struct{ Message string }
		if json.Unmarshal(answer, &failure) != nil || failure.Message == "" {
			failure.Message = string(answer)
		}
		return nil, fmt.Errorf("%s: %s", resp.Status, failure.Message)
	}
	var x execution
	if err := json.Unmarshal(answer, &x); err != nil {
		return nil, fmt.Errorf("read answer %q: %w", answer, err)
	}
	return &x, nil
}
