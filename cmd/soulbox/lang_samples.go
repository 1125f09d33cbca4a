package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/soulbox/soulbox/images"
	"github.com/soulbox/soulbox/rpc/client"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
	"github.com/soulbox/soulbox/sandbox/wide"
)

// sampleResult is what came of one sample; with --json all are printed.
type sampleResult struct {
	Language string          `json:"language"`
	Sample   string          `json:"sample"`
	Right    bool            `json:"right"`
	Problem  string          `json:"problem,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"` // as the API spells it; absent when it was refused
	x        *pb.Execution
}

func langTestCommand(session *wide.Session) *cli.Command {
	return &cli.Command{
		Name:      "test",
		Usage:     "run the small programs that show that a language works",
		ArgsUsage: "[NAME...]",
		Description: "Without a NAME all languages of this host are tried, those of --languages-dir too. The exit status is 0 only when every\n" +
			"   answer was right.\n\n   soulbox lang test\n   soulbox lang test python go",
		Flags: localFlags(
			&cli.BoolFlag{Name: "all", Usage: "try languages that are not installed too, and fail for them"},
			jsonFlag(),
		),
		Action: func(c *cli.Context) error {
			if session == nil {
				if _, err := chosen(c); err != nil {
					return err
				}
			}
			return withDaemonOrLocal(session, langTest)(c)
		},
	}
}

// chosen returns the recipes that the command line names, all without any.
func chosen(c *cli.Context) ([]*images.Recipe, error) {
	dir, err := languagesDir(c)
	if err != nil {
		return nil, err
	}
	catalog, err := images.LoadDir(dir)
	if err != nil {
		return nil, err
	}
	if c.NArg() == 0 {
		return catalog.All(), nil
	}
	return named(catalog, c.Args().Slice())
}

// named returns the recipes with names or aliases.
func named(catalog *images.Catalog, names []string) ([]*images.Recipe, error) {
	var recipes []*images.Recipe
	for _, name := range names {
		r, ok := catalog.Find(name)
		if !ok {
			return nil, fmt.Errorf("no language %q; there are %s", name, strings.Join(catalog.Names(), ", "))
		}
		recipes = append(recipes, r)
	}
	return recipes, nil
}

func langTest(ctx context.Context, c *cli.Context, daemon *client.Client) error {
	recipes, err := chosen(c)
	if err != nil {
		return err
	}
	available, err := availableLanguages(ctx, daemon)
	if err != nil {
		return err
	}
	results := []sampleResult{}
	wrong := 0
	for _, r := range recipes {
		if !available[r.Name] && c.NArg() == 0 && !c.Bool("all") {
			continue
		}
		for _, s := range r.Samples {
			result, err := trySample(ctx, daemon, r.Name, s)
			if err != nil {
				return err
			}
			if !result.Right {
				wrong++
			}
			results = append(results, result)
		}
	}
	if err := printSamples(c.App.Writer, results, c.Bool("json")); err != nil {
		return err
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d samples are wrong", wrong, len(results))
	}
	return nil
}

func availableLanguages(ctx context.Context, daemon *client.Client) (map[string]bool, error) {
	list, err := daemon.Languages.ListLanguages(ctx, &pb.ListLanguagesRequest{})
	if err != nil {
		return nil, err
	}
	available := map[string]bool{}
	for _, l := range list.GetLanguages() {
		available[l.GetName()] = l.GetAvailable()
	}
	return available, nil
}

// trySample runs one sample. What is refused is a wrong answer; only a lost daemon or context is an error.
func trySample(ctx context.Context, daemon *client.Client, language string, s images.Sample) (sampleResult, error) {
	result := sampleResult{Language: language, Sample: s.Name}
	x, err := daemon.Executions.ExecuteCode(ctx, &pb.ExecuteCodeRequest{Language: language, Code: s.Code, Args: s.Args, Stdin: s.Stdin})
	if err != nil {
		if ctx.Err() != nil {
			return result, err
		}
		result.Problem = client.Explain(err)
		return result, nil
	}
	result.x, result.Problem = x, sampleProblem(s, x)
	result.Right = result.Problem == ""
	if result.Result, err = marshalMessage(x); err != nil {
		return result, err
	}
	return result, nil
}

// sampleProblem says what is wrong with the answer to a sample, "" when nothing is.
func sampleProblem(s images.Sample, x *pb.Execution) string {
	switch v := x.GetVerdict(); v {
	case pb.Verdict_VERDICT_OK, pb.Verdict_VERDICT_RUNTIME_ERROR, pb.Verdict_VERDICT_SIGNALLED, pb.Verdict_VERDICT_COMPILE_ERROR:
		return s.Problem(images.Outcome{
			Compiled: v != pb.Verdict_VERDICT_COMPILE_ERROR, CompileStderr: x.GetCompile().GetStderr(),
			Stdout: x.GetStdout(), Stderr: x.GetStderr(), ExitCode: int(x.GetExitCode()), Signal: x.GetSignal(),
		})
	default: // a limit that no sample may touch, or SoulBox failed
		return fmt.Sprintf("%s: %q", enumName(v.String(), "VERDICT_"), x.GetStderr()+x.GetDetail())
	}
}

func printSamples(w io.Writer, results []sampleResult, asJSON bool) error {
	if asJSON {
		return printJSON(w, results)
	}
	rows := make([][]string, 0, len(results))
	for _, r := range results {
		answer, wall, peak := "right", "-", "-"
		if !r.Right {
			answer = "WRONG: " + r.Problem
		}
		if r.x != nil {
			wall, peak = showDuration(r.x.GetUsage().GetWallTime()), showBytes(r.x.GetUsage().GetPeakMemoryBytes())
		}
		rows = append(rows, []string{r.Language, r.Sample, wall, peak, answer})
	}
	return printTable(w, painter{}, []string{"LANGUAGE", "SAMPLE", "WALL", "PEAK", "ANSWER"}, rows)
}
