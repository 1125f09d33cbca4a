package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// endpoint says where a daemon serves. In the state directory it is a file each, while the daemon runs.
type endpoint struct {
	url    string // "http://127.0.0.1:4444"
	socket string // path of the unix socket; empty without
}

// endpointOf returns where the sockets that a daemon inherited are: TCP first, then perhaps a unix socket.
func endpointOf(listeners []net.Listener) endpoint {
	e := endpoint{url: "http://" + listeners[0].Addr().String()}
	if len(listeners) > 1 {
		e.socket = listeners[1].Addr().String()
	}
	return e
}

// socketURL is what clients connect to a unix socket by.
func (e endpoint) socketURL() string { return (&url.URL{Scheme: "unix", Path: e.socket}).String() }

// writeEndpoint tells commands on this machine where the daemon is.
func writeEndpoint(stateDir string, e endpoint) error {
	for name, text := range e.files() {
		path := filepath.Join(stateDir, name)
		if err := os.WriteFile(path+".new", []byte(text+"\n"), 0o600); err != nil {
			return fmt.Errorf("write endpoint: %w", err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			return fmt.Errorf("write endpoint: %w", err)
		}
	}
	return nil
}

// files are those in the state directory that say e, each of one line.
func (e endpoint) files() map[string]string {
	if e.socket == "" {
		return map[string]string{endpointFile: e.url}
	}
	return map[string]string{endpointFile: e.url, socketPathFile: e.socket}
}

// removeEndpoint ends what writeEndpoint began.
func removeEndpoint(stateDir string) error {
	var errs []error
	for name := range (endpoint{socket: "any"}).files() {
		if err := os.Remove(filepath.Join(stateDir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove endpoint: %w", err))
		}
	}
	return errors.Join(errs...)
}

// readEndpoint returns where a daemon says that it is, nothing without one.
func readEndpoint(stateDir string) (e endpoint, err error) {
	for name, into := range map[string]*string{endpointFile: &e.url, socketPathFile: &e.socket} {
		b, err := os.ReadFile(filepath.Join(stateDir, name))
		// Another user's state directory is not ours to look into: no daemon of ours.
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return endpoint{}, fmt.Errorf("find the daemon: %w", err)
		}
		*into = strings.TrimSuffix(string(b), "\n")
	}
	return e, nil
}
