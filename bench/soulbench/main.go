// Command soulbench measures a running daemon: what one execution costs, and whether many at once go right.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := app().RunContext(ctx, os.Args); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "soulbench:", err)
		os.Exit(1)
	}
}

func app() *cli.App {
	shared := []cli.Flag{
		&cli.StringFlag{Name: "url", EnvVars: []string{"SOULBOX_URL"}, Value: "http://127.0.0.1:8080", Usage: "the daemon's `URL`"},
		&cli.StringFlag{Name: "key", EnvVars: []string{"SOULBOX_API_KEY"}, Usage: "API `KEY`"},
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "also write the report as JSON to `FILE`"},
		&cli.DurationFlag{Name: "timeout", Value: 15 * time.Minute, Usage: "end the measurement after this `TIME`"},
	}
	return &cli.App{
		Name: "soulbench", Usage: "measure a running SoulBox daemon from outside", HideVersion: true,
		Commands: []*cli.Command{
			{Name: "cold", Usage: "compare one execution with the bare interpreter or compiler", Action: cold, Flags: append([]cli.Flag{
				&cli.StringSliceFlag{Name: "languages", Usage: "`NAMES` with commas between them; all by default"},
				&cli.IntFlag{Name: "n", Value: 20, Usage: "measured `RUNS` of each"},
			}, shared...)},
			{Name: "load", Usage: "run many programs at once and count wrong verdicts", Action: load, Flags: append([]cli.Flag{
				&cli.StringSliceFlag{Name: "languages", Usage: "`NAMES` with commas between them; all by default"},
				&cli.IntFlag{Name: "n", Value: 400, Usage: "`EXECUTIONS` in all"},
				&cli.IntFlag{Name: "concurrency", Value: 20, Usage: "`EXECUTIONS` at once"},
				&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "`NUMBER` that decides the order"},
			}, shared...)},
		},
	}
}

// client returns the client that the flags describe, with a connection for each of n requests at once.
func client(c *cli.Context, n int) *bench.Client {
	return &bench.Client{URL: c.String("url"), Key: c.String("key"),
		HTTP: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n, MaxConnsPerHost: n}}}
}

// choose keeps the programs of the languages that the flags name.
func choose(c *cli.Context, programs []bench.Program) ([]bench.Program, error) {
	names := c.StringSlice("languages")
	if len(names) == 0 {
		return programs, nil
	}
	for _, name := range names {
		if !slices.ContainsFunc(programs, func(p bench.Program) bool { return p.Language == name }) {
			return nil, fmt.Errorf("no program of a language %q", name)
		}
	}
	return slices.DeleteFunc(programs, func(p bench.Program) bool { return !slices.Contains(names, p.Language) }), nil
}

func cold(c *cli.Context) error {
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	programs, err := choose(c, bench.Hello())
	if err != nil {
		return err
	}
	report := bench.NewReport()
	if report.Cold, err = bench.Cold(ctx, client(c, 1), bench.ColdOptions{Programs: programs, Runs: c.Int("n")}); err != nil {
		return err
	}
	return publish(c, report)
}

func load(c *cli.Context) error {
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	programs, err := choose(c, bench.Mixed())
	if err != nil {
		return err
	}
	n := c.Int("concurrency")
	result := bench.Load(ctx, client(c, n), bench.LoadOptions{Programs: programs, N: c.Int("n"), Concurrency: n, Seed: c.Uint64("seed")})
	report := bench.NewReport()
	report.Load = &result
	if err := publish(c, report); err != nil {
		return err
	}
	if result.Right != result.Executions {
		return errors.New("not every execution went right")
	}
	return nil
}

// publish prints the report, and saves it where the flags say so.
func publish(c *cli.Context, r bench.Report) error {
	if err := r.WriteMarkdown(c.App.Writer); err != nil {
		return err
	}
	if path := c.String("output"); path != "" {
		return r.Save(path)
	}
	return nil
}
