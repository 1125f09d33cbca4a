package main

import (
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	pb "github.com/soulbox/soulbox/rpc/soulboxpb"
)

// console is the user's terminal while a program inside a sandbox has it: keys go there as they are typed. Close gives
// it back as it was.
type console struct {
	in, out *os.File
	before  *term.State
	restore sync.Once
	err     error // of restoring
}

// isTerminal tells whether a program can be given the user's terminal.
func isTerminal(files ...*os.File) bool {
	for _, f := range files {
		if !term.IsTerminal(int(f.Fd())) {
			return false
		}
	}
	return true
}

// openConsole takes the terminal that in and out are.
func openConsole(in, out *os.File) (*console, error) {
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, fmt.Errorf("make the terminal raw: %w", err)
	}
	return &console{in: in, out: out, before: before}, nil
}

// Close restores the terminal's settings, once.
func (t *console) Close() error {
	t.restore.Do(func() {
		if err := term.Restore(int(t.in.Fd()), t.before); err != nil {
			t.err = fmt.Errorf("restore the terminal: %w", err)
		}
	})
	return t.err
}

// size is the terminal's, or nil where it has none.
func (t *console) size() *pb.TerminalSize {
	columns, rows, err := term.GetSize(int(t.out.Fd()))
	if err != nil || columns <= 0 || rows <= 0 {
		return nil
	}
	return &pb.TerminalSize{Columns: uint32(columns), Rows: uint32(rows)}
}

// rawLine makes a line for a raw terminal, where a new line does not go back to the first column by itself.
func rawLine(text string) string {
	return "\r\n" + strings.ReplaceAll(text, "\n", "\r\n") + "\r\n"
}
