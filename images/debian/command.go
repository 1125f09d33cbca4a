package debian

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// DefaultSuite is what is built where nobody says.
	DefaultSuite = "bookworm"
	// SnapshotMirror keeps the archive as it was at any time.
	SnapshotMirror = "http://snapshot.debian.org/archive/debian/{snapshot}/"
	// SnapshotLayout is how times of the archive are written.
	SnapshotLayout = "20060102T150405Z"
)

// ErrOptions marks what is wrong with options; its text is safe to show.
var ErrOptions = errors.New("cannot build this")

// Options say what to build.
type Options struct {
	Suite    string   // default: [DefaultSuite]
	Snapshot string   // time of the archive, and of all files that are newer; empty: as it is now
	Mirror   string   // URL of the archive, "{snapshot}" in it for the time; default: the snapshots', without a time mmdebstrap's own
	Packages []string // beside those of a minimal system
}

// basePackages are in every image: its user can become root, and there is a way to add users.
func basePackages() []string { return []string{"passwd", "sudo"} }

// Time returns the time that the newest files of an image have, which is when it counts as made.
func (o Options) Time(now time.Time) (time.Time, error) {
	if o.Snapshot == "" {
		return now.UTC().Truncate(time.Second), nil
	}
	t, err := time.Parse(SnapshotLayout, o.Snapshot)
	if err != nil {
		return t, fmt.Errorf("%w: %q is no time such as 20261101T000000Z", ErrOptions, o.Snapshot)
	}
	return t, nil
}

// Command returns the command that writes the archive to its standard output, and what it has in its environment. It is a
// pure function.
func (o Options) Command(now time.Time) (args, env []string, err error) {
	o.Suite = cmp.Or(o.Suite, DefaultSuite)
	if !regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`).MatchString(o.Suite) {
		return nil, nil, fmt.Errorf("%w: %q is no name of a suite", ErrOptions, o.Suite)
	}
	for _, p := range o.Packages {
		if !regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`).MatchString(p) {
			return nil, nil, fmt.Errorf("%w: %q is no name of a package", ErrOptions, p)
		}
	}
	at, err := o.Time(now)
	if err != nil {
		return nil, nil, err
	}
	packages := slices.Sorted(slices.Values(append(basePackages(), o.Packages...)))
	args = []string{
		"mmdebstrap", "--mode=root", "--format=tar", "--variant=minbase", "--skip=output/dev", "--include=" + strings.Join(slices.Compact(packages), ","),
		`--aptopt=Acquire::Languages "none"`, `--aptopt=APT::Sandbox::User "root"`, `--aptopt=APT::Install-Recommends "false"`,
		"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-include=/usr/share/doc/*/copyright",
		"--dpkgopt=force-unsafe-io",
	}
	if o.Snapshot != "" {
		args = append(args, `--aptopt=Acquire::Check-Valid-Until "false"`) // what was signed then has run out
	}
	for _, hook := range hooks() {
		args = append(args, "--customize-hook="+hook)
	}
	mirror := o.Mirror
	if mirror == "" && o.Snapshot != "" {
		mirror = SnapshotMirror
	}
	args = append(args, o.Suite, "-")
	if mirror != "" {
		args = append(args, strings.ReplaceAll(mirror, "{snapshot}", o.Snapshot))
	}
	env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/",
		"SOURCE_DATE_EPOCH=" + strconv.FormatInt(at.Unix(), 10),
	}
	return args, env, nil
}

// hooks finish the tree, which is "$1": a user who may become root, and nothing of the host.
func hooks() []string {
	return []string{
		`chroot "$1" useradd --uid 1000 --create-home --shell /bin/bash user`,
		`echo 'user ALL=(ALL:ALL) NOPASSWD: ALL' >"$1/etc/sudoers.d/user" && chmod 440 "$1/etc/sudoers.d/user"`,
		`rm -f "$1/etc/resolv.conf" "$1/etc/hostname" "$1/etc/passwd-" "$1/etc/group-" "$1/etc/shadow-" "$1/etc/gshadow-" "$1/etc/subuid-" "$1/etc/subgid-"`,
	}
}
