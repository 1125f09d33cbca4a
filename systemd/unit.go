package systemd

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"text/template"
)

// The names of SoulBox's units.
const (
	ServiceName = "soulbox.service"
	SocketName  = "soulbox.socket"
)

// notifyReloadSince is the first systemd that knows Type=notify-reload.
const notifyReloadSince = 253

//go:embed templates/*.tmpl
var templates embed.FS

// UnitOptions say what the units are like.
type UnitOptions struct {
	System   bool   // of the system's service manager; else of a user's
	Exec     string // absolute path of the executable
	Listen   string // "127.0.0.1:4444"
	Socket   string // absolute path of the unix socket; empty: none
	User     string // of a system service
	Hardened bool   // a system service whose programs cannot gain privileges
	Version  int    // of systemd; 0: the oldest that is supported
}

// Unit is a file for the service manager.
type Unit struct {
	Name string // "soulbox.service"
	Text string
}

// Units returns the service and its socket. Equal options make equal text.
func Units(o UnitOptions) ([]Unit, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	data := struct {
		UnitOptions
		NotifyReload bool
	}{o, o.Version >= notifyReloadSince}
	// In paths and addresses only the percent sign means something to systemd: check has refused the rest.
	for _, s := range []*string{&data.Exec, &data.Socket, &data.Listen} {
		*s = strings.ReplaceAll(*s, "%", "%%")
	}
	var units []Unit
	for _, name := range []string{SocketName, ServiceName} {
		t, err := template.ParseFS(templates, "templates/"+name+".tmpl")
		if err != nil {
			return nil, fmt.Errorf("read the template of %s: %w", name, err)
		}
		var b strings.Builder
		if err := t.Execute(&b, data); err != nil {
			return nil, fmt.Errorf("make %s: %w", name, err)
		}
		units = append(units, Unit{Name: name, Text: sign(b.String())})
	}
	return units, nil
}

// check reports everything that cannot stand in a unit.
func (o UnitOptions) check() error {
	var errs []error
	paths := map[string]string{"executable": o.Exec}
	if o.Socket != "" {
		paths["socket"] = o.Socket
	}
	for what, path := range paths {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path {
			errs = append(errs, fmt.Errorf("the path of the %s, %q, is not absolute and clean", what, path))
		}
	}
	for what, s := range map[string]string{"path of the executable": o.Exec, "path of the socket": o.Socket, "address": o.Listen, "user's name": o.User} {
		if strings.ContainsFunc(s, special) {
			errs = append(errs, fmt.Errorf("the %s, %q, has a character that means something else in a unit: choose another", what, s))
		}
	}
	if o.Listen == "" {
		errs = append(errs, errors.New("no address to listen on"))
	}
	if o.System && o.User == "" {
		errs = append(errs, errors.New("a system service needs a user"))
	}
	if o.Hardened && !o.System {
		errs = append(errs, errors.New("only a system service can be hardened: a user's service manager may not do what it takes"))
	}
	return errors.Join(errs...)
}

// special is true for what systemd.syntax(7) and systemd.service(5) give a meaning, the percent sign excepted.
func special(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("\"'\\$;#", r) }

// The first line of a unit that SoulBox wrote says what the rest was then.
const (
	signBegin = "# Written by soulbox systemd install ("
	signEnd   = "). Changes belong into a drop-in: systemctl edit NAME\n"
)

func sign(text string) string { return signBegin + digest(text) + signEnd + text }

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// Origin is who wrote a unit.
type Origin int

// Who wrote a unit.
const (
	OriginOurs    Origin = iota // SoulBox, and nobody has changed it
	OriginEdited                // SoulBox, and somebody has changed it
	OriginForeign               // somebody else
)

// OriginOf tells who wrote the text of a unit.
func OriginOf(text string) Origin {
	head, body, _ := strings.Cut(text, "\n")
	sum, ok := strings.CutPrefix(head+"\n", signBegin)
	if !ok {
		return OriginForeign
	}
	if sum, ok = strings.CutSuffix(sum, signEnd); ok && sum == digest(body) {
		return OriginOurs
	}
	return OriginEdited
}
