package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// documentedAddress is what documents have for the address of a daemon.
	documentedAddress = "127.0.0.1:4444"
	// readyTime is how long a daemon may take to be ready.
	readyTime = 2 * time.Minute
)

// site is where documents are run.
type site struct {
	dir      string // holds everything that is written
	soulbox  string
	tools    string
	files    []string // of the clone
	patience time.Duration
}

// result is what came of a document.
type result struct {
	name     string
	commands int
	reasons  []string // why blocks were not run
	took     time.Duration
	err      error
}

func (r result) String() string {
	word := "ok"
	if r.err != nil {
		word = "FAILED"
	}
	text := fmt.Sprintf("%-6s %s: %d commands in %s", word, r.name, r.commands, r.took.Round(100*time.Millisecond))
	for _, reason := range r.reasons {
		text += "\n       not run: " + reason
	}
	if r.err != nil {
		text += "\n" + r.err.Error()
	}
	return text
}

// run runs one document.
func (s *site) run(ctx context.Context, name string) (r result) {
	start := time.Now()
	r.name = name
	defer func() { r.took = time.Since(start) }()
	text, err := os.ReadFile(name)
	if err != nil {
		r.err = fmt.Errorf("read document: %w", err)
		return r
	}
	address, err := freeAddress(ctx)
	if err != nil {
		r.err = err
		return r
	}
	steps, reasons, err := plan(strings.ReplaceAll(string(text), documentedAddress, address))
	if r.reasons = reasons; err != nil || len(steps) == 0 {
		r.err = err
		return r
	}
	dir := filepath.Join(s.dir, strings.NewReplacer("/", "-", ".", "-").Replace(name))
	work := filepath.Join(dir, "soulbox")
	if r.err = s.copyTree(work, filepath.Join(dir, "home")); r.err != nil {
		return r
	}
	sh, err := startShell(ctx, dir, work, s.environment(ctx, filepath.Join(dir, "home"), work, address))
	if err != nil {
		r.err = err
		return r
	}
	defer func() { r.err = errors.Join(r.err, sh.Close()) }()
	for i := range steps {
		answered := i+1 < len(steps) && steps[i+1].asksStatus()
		if r.err = s.step(ctx, sh, work, address, &steps[i], answered); r.err != nil {
			r.err = fmt.Errorf("%s:%d: %w", name, steps[i].line, r.err)
			return r
		}
		r.commands++
	}
	return r
}

// plan reads a document.
func plan(document string) (steps []step, reasons []string, err error) {
	list, err := blocks(document)
	if err != nil {
		return nil, nil, err
	}
	for _, b := range list {
		if b.reason != "" {
			reasons = append(reasons, fmt.Sprintf("line %d: %s", b.line, b.reason))
		}
		more, err := b.steps()
		if err != nil {
			return nil, nil, err
		}
		steps = append(steps, more...)
	}
	return steps, reasons, nil
}

// step does one step. Its failure matters unless answered, when the document goes on to ask for its status.
func (s *site) step(ctx context.Context, sh *shell, work, address string, st *step, answered bool) error {
	if st.file != "" {
		path := filepath.Join(work, st.file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		if err := os.WriteFile(path, []byte(st.text), 0o644); err != nil {
			return fmt.Errorf("write file: %w", err)
		}
		return nil
	}
	limited, cancel := context.WithTimeoutCause(ctx, s.patience, fmt.Errorf("it took more than %s", s.patience))
	defer cancel()
	file, status, err := sh.run(limited, st.text, st.strict)
	if err == nil && st.serves() {
		err = waitReady(limited, address)
	}
	printed, rerr := os.ReadFile(file)
	if rerr != nil {
		return errors.Join(err, fmt.Errorf("read what it printed: %w", rerr))
	}
	if err == nil && status != 0 && !answered {
		err = fmt.Errorf("exit status %d", status)
	}
	want := st.want
	if st.serves() { // its log stands between
		want = append(append([]string{"…"}, want...), "…")
	}
	if err == nil && st.compared && !matches(want, string(printed)) {
		err = fmt.Errorf("it should print\n%s", indent(strings.Join(st.want, "\n")))
	}
	if err != nil {
		return fmt.Errorf("\n%s\n  printed\n%s\n  but %w", indent(st.text), indent(string(printed)), err)
	}
	return nil
}

// indent sets text off from what is said of it.
func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ")
}

// waitReady waits until the daemon at address can run programs.
func waitReady(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTime, fmt.Errorf("not ready within %s", readyTime))
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
		if err != nil {
			return fmt.Errorf("ask the daemon: %w", err)
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			_ = res.Body.Close() // only its status was asked for
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for the daemon: %w", context.Cause(ctx))
		}
	}
}

// freeAddress returns an address on which nobody listens.
func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}
