// Command demo is `make run`: it starts a daemon, runs one small program of each language through its API, prints what
// came of them, and stops the daemon. It exits 0 only when every program gave the right answer.
//
//	demo -soulbox bin/soulbox -programs docs/examples
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// What every example is given, and answers.
const (
	stdin  = "10000\n"
	stdout = "1229 primes below 10000, the last is 9973\n"
)

// program is one example.
type program struct{ language, file string }

func programs() []program {
	return []program{
		{"python", "primes.py"}, {"javascript", "primes.js"}, {"typescript", "primes.ts"}, {"go", "primes.go"},
		{"java", "Primes.java"}, {"c", "primes.c"}, {"cpp", "primes.cpp"}, {"rust", "primes.rs"}, {"ruby", "primes.rb"},
		{"php", "primes.php"},
	}
}

func main() {
	soulbox := flag.String("soulbox", "bin/soulbox", "the `executable` to show")
	dir := flag.String("programs", "docs/examples", "the `directory` of the programs")
	patience := flag.Duration("timeout", 10*time.Minute, "give up after this `time`; the first start prepares compilers")
	flag.Parse()
	runtime.LockOSThread() // the daemon ends with the thread that started it, see startDaemon
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, *patience)
	err := demo(ctx, *soulbox, *dir)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context, soulbox, dir string) (err error) {
	state, err := os.MkdirTemp("", "soulbox-demo-")
	if err != nil {
		return fmt.Errorf("make a state directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(state)) }()
	d, err := startDaemon(ctx, soulbox, state, rand.Text())
	if err != nil {
		return err
	}
	defer func() {
		if stopErr := d.stop(); stopErr != nil {
			err = errors.Join(err, fmt.Errorf("stop the daemon: %w", stopErr))
		}
	}()
	fmt.Printf("The daemon answers at %s. Each program reads %.5s and looks for primes.\nThe first time, compilers are prepared, which takes a while.\n\n", d.url, stdin)
	table := newTable(os.Stdout)
	wrong := 0
	for _, p := range programs() {
		source, err := os.ReadFile(dir + "/" + p.file)
		if err != nil {
			return fmt.Errorf("read example: %w", err)
		}
		x, err := d.execute(ctx, p.language, string(source))
		if ctx.Err() != nil {
			return fmt.Errorf("run %s: %w", p.file, context.Cause(ctx))
		}
		row := newRow(p.language, x, err)
		if !row.right {
			wrong++
		}
		table.print(row)
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d programs did not give the right answer", wrong, len(programs()))
	}
	fmt.Printf(`
All %d are right, each in a sandbox of its own. Next:

  echo 10000 | %[2]s run %[3]s/primes.rs
      one program; no daemon is needed
  %[2]s run --timeout 1s --memory 64M %[3]s/primes.py <<< 100000000
      what a limit looks like
  %[2]s serve
      a daemon; then, in another terminal: %[2]s ps, %[2]s key create
  %[2]s lang list
      the languages of this host
  %[2]s doctor
      what this host can and cannot enforce
`, len(programs()), soulbox, dir)
	return nil
}
