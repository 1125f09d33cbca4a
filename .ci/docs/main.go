package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

func main() {
	soulbox := flag.String("soulbox", "bin/soulbox", "the `executable` that documents call soulbox and bin/soulbox")
	tools := flag.String("tools", ".cache/tools", "`directory` of more programs that documents call")
	jobs := flag.Int("jobs", min(2, runtime.NumCPU()), "`number` of documents at once")
	patience := flag.Duration("timeout", 5*time.Minute, "fail a command after this `time`")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: docs [-soulbox FILE] [-tools DIR] DOCUMENT...")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := check(ctx, *soulbox, *tools, *jobs, *patience, flag.Args())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "docs:", err)
		os.Exit(1)
	}
}

// check runs all documents and prints a line for each, and what went wrong.
func check(ctx context.Context, soulbox, tools string, jobs int, patience time.Duration, names []string) (err error) {
	dir, err := os.MkdirTemp("", "soulbox-docs-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() { err = errors.Join(err, removeAll(context.WithoutCancel(ctx), dir)) }()
	s := &site{dir: dir, patience: patience}
	if s.soulbox, err = filepath.Abs(soulbox); err != nil {
		return fmt.Errorf("find soulbox: %w", err)
	}
	if s.tools, err = filepath.Abs(tools); err != nil {
		return fmt.Errorf("find the tools: %w", err)
	}
	if s.files, err = trackedFiles(ctx); err != nil {
		return err
	}
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		failed int
		places = make(chan struct{}, max(1, jobs))
	)
	for _, name := range names {
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			result := s.run(ctx, name)
			mu.Lock()
			defer mu.Unlock()
			fmt.Println(result)
			if result.err != nil {
				failed++
			}
		})
	}
	wg.Wait()
	if failed > 0 {
		return fmt.Errorf("%d of %d documents do not say what is so", failed, len(names))
	}
	return nil
}
