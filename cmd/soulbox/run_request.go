package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/docker/go-units"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/soulbox/soulbox/images"
	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

// maxInput bounds each file that is read for a request, in bytes; the daemon's own bound on a whole request is lower
// or the same, and its answer says so.
const maxInput = 64 << 20

// checkRun finds what is wrong with the command line without reading anything.
func checkRun(c *cli.Context) error {
	if c.NArg() == 0 {
		return errors.New("run takes a FILE, or - for standard input; see soulbox run --help")
	}
	if c.Args().First() == "-" && len(c.StringSlice("file")) > 0 && askedLanguage(c) == images.Auto {
		return errors.New("say with -l which language standard input is in, such as -l python: with --file it needs a name")
	}
	_, err := runLimits(c)
	return err
}

// runLimits reads the flags that limit the program.
func runLimits(c *cli.Context) (*pb.Limits, error) {
	l := &pb.Limits{Processes: uint32(min(c.Uint("processes"), 1<<32-1))}
	err := errors.Join(positive(c, "timeout"), positive(c, "cpu"),
		sizes(c, map[string]*int64{"memory": &l.MemoryBytes, "output-limit": &l.OutputBytes}))
	if d := c.Duration("timeout"); d > 0 {
		l.WallTime = durationpb.New(d)
	}
	if d := c.Duration("cpu"); d > 0 {
		l.CpuTime = durationpb.New(d)
	}
	return l, err
}

// askedLanguage is the language of the command line. The daemon detects one that was not named: it knows languages that
// this executable does not.
func askedLanguage(c *cli.Context) string { return cmp.Or(c.String("language"), images.Auto) }

// naming tells the default file name of a language.
type naming func(language string) (string, error)

// sizes reads several size flags and reports every bad one.
func sizes(c *cli.Context, into map[string]*int64) error {
	var errs []error
	for name, p := range into {
		if c.String(name) == "" {
			continue
		}
		n, err := units.RAMInBytes(c.String(name))
		if err != nil || n < 0 {
			errs = append(errs, fmt.Errorf("--%s %q is not a size such as 64M or 1GiB", name, c.String(name)))
		}
		*p = n
	}
	return errors.Join(errs...)
}

// runRequest makes the request of a command line.
func runRequest(c *cli.Context, stdin *os.File, fileName naming) (*pb.StreamExecutionRequest, error) {
	limits, err := runLimits(c)
	if err != nil {
		return nil, err
	}
	req := &pb.StreamExecutionRequest{Args: c.Args().Tail(), Limits: limits, Outputs: c.StringSlice("output"), Env: map[string]string{},
		Image: c.String("image"), Runtime: c.String("runtime")}
	for _, kv := range c.StringSlice("env") {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("--env %q is not K=V", kv)
		}
		req.Env[k] = v
	}
	if err := addProgram(c, req, stdin, fileName); err != nil {
		return nil, err
	}
	if req.StdinRaw, err = programInput(c, stdin); err != nil {
		return nil, err
	}
	return req, nil
}

// addProgram fills in language, code and files.
func addProgram(c *cli.Context, req *pb.StreamExecutionRequest, stdin *os.File, fileName naming) error {
	name := c.Args().First()
	var code []byte
	var err error
	if name == "-" {
		code, err = readInput(stdin, "standard input")
		name = ""
	} else {
		code, err = readFile(name)
		name = filepath.Base(name)
	}
	if err != nil {
		return err
	}
	req.Language = askedLanguage(c)
	extra := c.StringSlice("file")
	if len(extra) == 0 && utf8.Valid(code) {
		req.Code, req.Entrypoint = string(code), name
		return nil
	}
	if name == "" {
		if req.Language == images.Auto {
			return errors.New("say with -l which language standard input is in, such as -l python: it is no UTF-8 text")
		}
		if name, err = fileName(req.Language); err != nil {
			return err
		}
	}
	req.Entrypoint, req.Files = name, []*pb.File{{Path: name, Content: code}}
	return addFiles(req, extra)
}

// addFiles adds what --file names: FILE under its own relative path, or NAME=FILE.
func addFiles(req *pb.StreamExecutionRequest, files []string) error {
	for _, f := range files {
		inside, file, ok := strings.Cut(f, "=")
		if !ok {
			inside, file = filepath.ToSlash(filepath.Clean(f)), f
			if !filepath.IsLocal(inside) {
				inside = path.Base(inside)
			}
		}
		content, err := readFile(file)
		if err != nil {
			return err
		}
		mode := uint32(0)
		if st, err := os.Stat(file); err == nil {
			mode = uint32(st.Mode().Perm())
		}
		req.Files = append(req.Files, &pb.File{Path: inside, Content: content, Mode: mode})
	}
	return nil
}

// programInput reads what the program gets on its standard input.
func programInput(c *cli.Context, stdin *os.File) ([]byte, error) {
	if file := c.Path("stdin"); file != "" {
		return readFile(file)
	}
	if c.Args().First() == "-" || term.IsTerminal(int(stdin.Fd())) {
		return nil, nil
	}
	b, err := readInput(stdin, "standard input")
	if errors.Is(err, unix.EBADF) {
		return nil, nil // it is closed
	}
	return b, err
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err // names the attempt and the file
	}
	defer f.Close()
	return readInput(f, name)
}

func readInput(r io.Reader, name string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(b) > maxInput {
		return nil, fmt.Errorf("read %s: it has more than %s", name, showBytes(maxInput))
	}
	return b, nil
}

// saveOutputs writes the files that were asked for below dir, and says which are not there. A daemon can only write
// what was asked for, and only below dir.
func saveOutputs(dir string, asked []string, files []*pb.File, say io.Writer) (err error) {
	if len(asked) == 0 {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("save outputs: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	saved := map[string]bool{}
	for _, f := range files {
		name := f.GetPath()
		if !slices.Contains(asked, name) {
			continue
		}
		if err := saveOutput(root, name, f); err != nil {
			return fmt.Errorf("save output %s: %w", name, err)
		}
		saved[name] = true
	}
	for _, name := range asked {
		if !saved[name] {
			fmt.Fprintf(say, "soulbox: the program left no file %s\n", printable(name))
		}
	}
	return nil
}

func saveOutput(root *os.Root, name string, f *pb.File) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	out, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, os.FileMode(f.GetMode())&0o777|0o600)
	if err != nil {
		return err
	}
	_, err = out.Write(f.GetContent())
	return errors.Join(err, out.Close())
}

// signalNumber returns the number of a signal by its name, 0 for none.
func signalNumber(name string) int { return int(unix.SignalNum(name)) }
