// Command coverage prints how much of the project's own code a profile covers, and fails below a minimum.
//
//	coverage -min 75 PROFILE
//
// PROFILE is what `go tool covdata textfmt` writes over the counts of all parts of the tests. Generated code, and what
// is below .ci, does not count.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"golang.org/x/tools/cover"
)

const module = "github.com/soulbox/soulbox/"

func main() {
	least := flag.Float64("min", 75, "fail below this `percentage` of statements")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: coverage [-min PERCENT] PROFILE")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *least); err != nil {
		fmt.Fprintln(os.Stderr, "coverage:", err)
		os.Exit(1)
	}
}

// count is a number of statements.
type count struct{ covered, all int }

func (c count) percent() float64 {
	if c.all == 0 {
		return 100
	}
	return 100 * float64(c.covered) / float64(c.all)
}

func run(profile string, least float64) error {
	profiles, err := cover.ParseProfiles(profile)
	if err != nil {
		return fmt.Errorf("read profile: %w", err)
	}
	byPackage, err := statements(profiles, generated)
	if err != nil {
		return err
	}
	var total count
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, pkg := range slices.Sorted(maps.Keys(byPackage)) {
		c := byPackage[pkg]
		total.covered, total.all = total.covered+c.covered, total.all+c.all
		fmt.Fprintf(w, "%.1f %%\t%d\t  %s\t\n", c.percent(), c.all, pkg)
	}
	fmt.Fprintf(w, "%.1f %%\t%d\t  total\t\n", total.percent(), total.all)
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print coverage: %w", err)
	}
	if total.percent() < least {
		return fmt.Errorf("%.1f %% of statements are covered, less than %.0f %%", total.percent(), least)
	}
	return nil
}

// statements counts by package, which it names from the module's top. skip leaves files out.
func statements(profiles []*cover.Profile, skip func(file string) (bool, error)) (map[string]count, error) {
	byPackage := map[string]count{}
	for _, p := range profiles {
		file, ours := strings.CutPrefix(p.FileName, module)
		if !ours || strings.HasPrefix(file, ".ci/") {
			continue
		}
		skipped, err := skip(file)
		if err != nil {
			return nil, err
		}
		if skipped {
			continue
		}
		c := byPackage[path.Dir(file)]
		for _, b := range p.Blocks {
			c.all += b.NumStmt
			if b.Count > 0 {
				c.covered += b.NumStmt
			}
		}
		byPackage[path.Dir(file)] = c
	}
	return byPackage, nil
}

// generated tells by the line that generators write (go.dev/s/generatedcode).
func generated(file string) (_ bool, err error) {
	f, err := os.Open(file)
	if err != nil {
		return false, fmt.Errorf("look at a covered file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	mark := regexp.MustCompile(`^// Code generated .* DO NOT EDIT\.$`)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		switch line := lines.Text(); {
		case mark.MatchString(line):
			return true, nil
		case strings.HasPrefix(line, "package "):
			return false, nil
		}
	}
	return false, nil
}
