// Command soulbox-transpile turns a TypeScript program into JavaScript that node runs, inside a sandbox.
//
//	transpile FILE
//
// It bundles FILE with the local files that it imports into .soulbox.cjs beside it, with a source map. A program that
// awaits at its top level becomes .soulbox.mjs, and .soulbox.cjs imports that. Types are stripped, not checked. What is
// wrong with a program is printed as file:line:column and ends in exit status 1.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/evanw/esbuild/pkg/api"
)

// The names of what is written, beside the entrypoint so that relative paths keep their meaning.
const (
	outputCommonJS = ".soulbox.cjs"
	outputModule   = ".soulbox.mjs"
)

// loader is what .soulbox.cjs holds when the program is a module.
const loader = "import(\"./" + outputModule + "\");\n"

// errProgram means that the program is at fault, and that it was told.
var errProgram = errors.New("the program has errors")

func main() {
	// The heap of so short a life is not worth collecting before it is large; GOMEMLIMIT still bounds it.
	debug.SetGCPercent(400)
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: transpile FILE")
		os.Exit(2)
	}
	if err := transpile(os.Args[1]); err != nil {
		if !errors.Is(err, errProgram) {
			fmt.Fprintln(os.Stderr, "transpile:", err)
		}
		os.Exit(1)
	}
}

// transpile writes the JavaScript of file beside it.
func transpile(file string) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return fmt.Errorf("find %s: %w", file, err)
	}
	dir := filepath.Dir(file)
	result := build(file, api.FormatCommonJS)
	if len(result.Errors) == 0 {
		return write(filepath.Join(dir, outputCommonJS), result.OutputFiles[0].Contents)
	}
	// CommonJS has no await at top level, a module has. Whatever else is wrong is wrong in both.
	result = build(file, api.FormatESModule)
	if len(result.Errors) > 0 {
		for _, m := range result.Errors {
			fmt.Fprintln(os.Stderr, describe(m))
		}
		return errProgram
	}
	if err := write(filepath.Join(dir, outputModule), result.OutputFiles[0].Contents); err != nil {
		return err
	}
	return write(filepath.Join(dir, outputCommonJS), []byte(loader))
}

// describe returns m as compilers of C's family print it, with the line at fault. Columns count bytes from 1.
func describe(m api.Message) string {
	if m.Location == nil {
		return "error: " + m.Text
	}
	l := m.Location
	return fmt.Sprintf("%s:%d:%d: error: %s\n    %s", l.File, l.Line, l.Column+1, m.Text, l.LineText)
}

func build(file string, format api.Format) api.BuildResult {
	o := api.BuildOptions{
		EntryPoints:    []string{file},
		Outfile:        filepath.Join(filepath.Dir(file), outputCommonJS),
		Bundle:         true,
		Platform:       api.PlatformNode,
		Packages:       api.PackagesExternal,
		Format:         format,
		Target:         api.ES2023,
		Charset:        api.CharsetUTF8,
		Sourcemap:      api.SourceMapInline,
		SourcesContent: api.SourcesContentExclude,
		KeepNames:      true,
		LogLevel:       api.LogLevelSilent,
	}
	if format == api.FormatCommonJS {
		// CommonJS has no import.meta, but all that it says.
		o.Define = map[string]string{
			"import.meta.url":      "__soulboxURL",
			"import.meta.dirname":  "__dirname",
			"import.meta.filename": "__filename",
		}
		o.Banner = map[string]string{"js": `const __soulboxURL = require("node:url").pathToFileURL(__filename).href;`}
	} else {
		// A module has no require, but CommonJS code in the bundle calls it.
		o.Banner = map[string]string{"js": `import { createRequire as __soulboxRequire } from "node:module"; const require = __soulboxRequire(import.meta.url);`}
	}
	return api.Build(o)
}

// write replaces the file name: the directory is the program's own, and what lies there is its own affair.
func write(name string, data []byte) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("replace output: %w", err)
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("create output: %w", err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write output %s: %w", name, err)
	}
	return nil
}
