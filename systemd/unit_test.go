package systemd

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func TestUnits(t *testing.T) {
	system := UnitOptions{System: true, Exec: "/usr/local/bin/soulbox", Listen: "127.0.0.1:4444", Socket: "/var/lib/soulbox/soulbox.sock", User: "soulbox"}
	hardened, newer, noSocket := system, system, system
	hardened.Hardened, newer.Version, noSocket.Socket = true, notifyReloadSince, ""
	for name, o := range map[string]UnitOptions{
		"user":      {Exec: "/home/soul/100%/soulbox", Listen: "[::1]:4444", Socket: "/home/soul/.local/state/soulbox/soulbox.sock"},
		"system":    system,
		"hardened":  hardened,
		"newer":     newer,
		"no-socket": noSocket,
	} {
		t.Run(name, func(t *testing.T) {
			units, err := Units(o)
			if err != nil {
				t.Fatalf("Units(%+v): %v", o, err)
			}
			var got strings.Builder
			for _, u := range units {
				got.WriteString("## " + u.Name + "\n" + u.Text)
				if origin := OriginOf(u.Text); origin != OriginOurs {
					t.Errorf("OriginOf(%s) = %v, want ours", u.Name, origin)
				}
			}
			golden(t, name+".units", got.String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; go test -update writes it", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (go test -update writes it), -want +got:\n%s", path, diff)
	}
}

func TestUnitsRefuse(t *testing.T) {
	good := UnitOptions{Exec: "/usr/bin/soulbox", Listen: "127.0.0.1:4444", Socket: "/run/s.sock"}
	for _, tt := range []struct {
		name   string
		change func(*UnitOptions)
		want   string
	}{
		{"relative executable", func(o *UnitOptions) { o.Exec = "bin/soulbox" }, "not absolute"},
		{"unclean executable", func(o *UnitOptions) { o.Exec = "/usr/../soulbox" }, "not absolute"},
		{"space in the executable", func(o *UnitOptions) { o.Exec = "/my files/soulbox" }, "character"},
		{"line break in the address", func(o *UnitOptions) { o.Listen = "127.0.0.1:1\nExecStart=/bin/sh" }, "character"},
		{"variable in the socket", func(o *UnitOptions) { o.Socket = "/run/$HOME/s" }, "character"},
		{"quote in the user", func(o *UnitOptions) { o.System, o.User = true, `a"b` }, "character"},
		{"no address", func(o *UnitOptions) { o.Listen = "" }, "no address"},
		{"no user", func(o *UnitOptions) { o.System = true }, "needs a user"},
		{"hardened user service", func(o *UnitOptions) { o.Hardened = true }, "hardened"},
	} {
		o := good
		tt.change(&o)
		if units, err := Units(o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Units = %v, %v, want an error with %q", tt.name, units, err, tt.want)
		}
	}
	if _, err := Units(good); err != nil {
		t.Errorf("Units(%+v): %v", good, err)
	}
}

func TestOriginOf(t *testing.T) {
	ours := sign("[Unit]\n")
	for _, tt := range []struct {
		text string
		want Origin
	}{
		{ours, OriginOurs},
		{ours + "# mine\n", OriginEdited},
		{strings.Replace(ours, "(", "(0", 1), OriginEdited},
		{"[Unit]\n", OriginForeign},
		{"", OriginForeign},
		{" " + ours, OriginForeign},
	} {
		if got := OriginOf(tt.text); got != tt.want {
			t.Errorf("OriginOf(%q) = %v, want %v", tt.text, got, tt.want)
		}
	}
}
