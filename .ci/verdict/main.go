// Command verdict reads what `go test -json` prints, shows it to people and decides whether a part of the tests passed.
//
//	go test -json ./... | verdict -part unit -save out/test/unit.json
//	verdict -sum out/test/*.json
//
// A part has failed when a test or package in it failed, when its input ended before all packages did, when nothing ran
// and, with SOULBOX_CI set, when a test was skipped that README.md does not list. The list stands between the lines
// "<!-- allowed skips -->" and "<!-- end of allowed skips -->", one test a line: - `part package TestName`: why.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	part := flag.String("part", "", "`name` of this part of the tests")
	save := flag.String("save", "", "`file` to keep the input in")
	readme := flag.String("readme", "README.md", "`file` with the list of allowed skips")
	sum := flag.Bool("sum", false, "read kept files and print the closing line over all of them")
	flag.Parse()
	strict := os.Getenv("SOULBOX_CI") != ""
	err := error(nil)
	if *sum {
		err = summarize(flag.Args())
	} else {
		err = judge(*part, *save, *readme, strict)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "verdict:", err)
		os.Exit(1)
	}
}

// judge reads one part from stdin.
func judge(part, save, readme string, strict bool) (err error) {
	allowed, err := readAllowed(readme)
	if err != nil {
		return err
	}
	in := io.Reader(os.Stdin)
	if save != "" {
		f, err := os.OpenFile(save, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return fmt.Errorf("keep the input: %w", err)
		}
		defer f.Close()
		in = io.TeeReader(os.Stdin, f)
	}
	t := newTally(os.Stdout)
	if err := t.read(in); err != nil {
		return err
	}
	fmt.Printf("%s: %s\n", part, t.line())
	var bad []string
	for _, s := range t.skipped {
		switch {
		case allowed.has(part, s):
			fmt.Printf("%s: skipped, as README.md says: %s\n", part, s)
		case strict:
			bad = append(bad, s.String())
		default:
			fmt.Printf("%s: skipped: %s\n", part, s)
		}
	}
	if len(bad) > 0 {
		err = fmt.Errorf("%s: skipped, which README.md does not allow: %s", part, strings.Join(bad, ", "))
	}
	if t.failed > 0 {
		err = errors.Join(err, fmt.Errorf("%s: %s", part, t.line()))
	}
	if t.passed+t.failed == 0 {
		err = errors.Join(err, fmt.Errorf("%s: no test ran", part))
	}
	return err
}

// summarize adds up the parts that were kept.
func summarize(files []string) error {
	all := newTally(io.Discard)
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return fmt.Errorf("read what was kept: %w", err)
		}
		one := newTally(io.Discard)
		if err := errors.Join(one.read(f), f.Close()); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
		all.passed, all.failed = all.passed+one.passed, all.failed+one.failed
		all.skipped = append(all.skipped, one.skipped...)
	}
	fmt.Println(all.line())
	return nil
}
