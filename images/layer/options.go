package layer

import (
	"cmp"
	"errors"
)

// Errors of layers that are refused. What an error of [Unpack] wraps besides is of the host.
var (
	// ErrHostile marks an archive that cannot come from an honest tool, or that is damaged.
	ErrHostile = errors.New("the layer is refused")
	// ErrTooLarge marks an archive beyond the bounds of [Options].
	ErrTooLarge = errors.New("the layer is too large")
)

// Nobody is who owns in a sandbox what belongs to nobody that it has.
const Nobody = 65534

// Options bound and map what is unpacked. The zero value takes every id as it is, for tests.
type Options struct {
	MaxBytes   int64 // of all files together, holes too; default 16 GiB
	MaxEntries int64 // default 2,000,000

	// Owner maps an id of the archive to one of the file system. own tells that the id is one that each sandbox has for
	// itself: what belongs to it is listed in [Result.Own], for whoever starts a sandbox. Nil: the id itself.
	Owner func(id int) (mapped int, own bool)

	// Below are the directories of the layers below, the uppermost first. A directory that the archive puts something in
	// and does not describe is as it is there.
	Below []string
}

func (o Options) withDefaults() Options {
	o.MaxBytes = cmp.Or(o.MaxBytes, 16<<30)
	o.MaxEntries = cmp.Or(o.MaxEntries, 2_000_000)
	if o.Owner == nil {
		o.Owner = func(id int) (int, bool) { return id, false }
	}
	return o
}

// Result is what a layer came to.
type Result struct {
	Bytes   int64 // content of regular files
	Entries int64
	Devices int64 // device nodes that were left out: no sandbox could open one
	Opaque  bool  // the layer hides all that lies below it
	// Own are the entries of ids that each sandbox has for itself, at most [MaxOwn] of them.
	Own []Own
	// OwnLeft counts those beyond.
	OwnLeft int64
}

// MaxOwn bounds [Result.Own].
const MaxOwn = 2000

// Own is an entry that belongs to ids which each sandbox has for itself.
type Own struct {
	Path     string `json:"path"` // below the root, without a leading slash
	UID, GID int
}
