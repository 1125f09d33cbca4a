package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// The keys that leave a program running, and the one that ends it.
const (
	keyCtrlC = 0x03
	keyCtrlP = 0x10
	keyCtrlQ = 0x11
)

// input reads a file until it is told to stop, and takes nothing that it does not return: what is typed ahead is for
// whoever reads the terminal next.
type input struct {
	file *os.File
	wake int // an event descriptor
}

func newInput(file *os.File) (*input, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("read input: make an event descriptor: %w", err)
	}
	return &input{file: file, wake: wake}, nil
}

// Read implements [io.Reader]. After stop it returns [io.EOF].
func (i *input) Read(p []byte) (int, error) {
	fds := []unix.PollFd{{Fd: int32(i.wake), Events: unix.POLLIN}, {Fd: int32(i.file.Fd()), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait for input: %w", err)
		case fds[0].Revents != 0:
			return 0, io.EOF
		case fds[1].Revents&unix.POLLNVAL != 0:
			return 0, io.EOF // it is closed
		case fds[1].Revents != 0:
			return i.file.Read(p)
		}
	}
}

// stop ends Read, in whatever goroutine it waits.
func (i *input) stop() {
	_, _ = unix.Write(i.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // fails only when it is told already
}

// Close gives back the event descriptor, once nobody reads.
func (i *input) Close() error {
	if err := unix.Close(i.wake); err != nil {
		return fmt.Errorf("read input: close the event descriptor: %w", err)
	}
	return nil
}

// escape finds the keys Ctrl-P Ctrl-Q in what is typed. The zero value is ready.
type escape struct {
	held bool // a Ctrl-P that is not passed on yet
}

// pass returns what of typed is for the program, and whether the user left; what follows the keys is dropped.
func (e *escape) pass(typed []byte) (out []byte, left bool) {
	out = make([]byte, 0, len(typed)+1)
	for _, key := range typed {
		switch {
		case e.held && key == keyCtrlQ:
			e.held = false
			return out, true
		case e.held && key == keyCtrlP:
			out = append(out, keyCtrlP) // one is held still
		case key == keyCtrlP:
			e.held = true
		default:
			if e.held {
				e.held = false
				out = append(out, keyCtrlP)
			}
			out = append(out, key)
		}
	}
	return out, false
}
