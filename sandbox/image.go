package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/soulbox/soulbox/images"
	"github.com/soulbox/soulbox/images/debian"
	"github.com/soulbox/soulbox/images/layer"
	"github.com/soulbox/soulbox/images/library"
)

// hostImage is the image of the host's own files.
const hostImage = "host"

// ownBudget bounds what of an image's files is copied for a sandbox because they belong to ids that are its own.
const ownBudget = 64 << 20

// ImageOwner returns the id in the wide namespace of what belongs to id in an image; it is [library.Options].Owner. What
// all sandboxes share are the ids below 1000 and nobody's. Those that each has for itself, and those that none has, are
// nobody's in an image; the former are given to a sandbox that starts on it.
func ImageOwner(id int) (mapped int, own bool) {
	if id >= 0 && id < sharedCount {
		return sharedBase + id, false
	}
	return wideNobody, id >= ProgramID && id < LauncherID
}

// imageRoot is what a sandbox's root file system is made over.
type imageRoot struct {
	*images.RootFS
	made *library.Root // nil: the host's
}

// findImage returns the image that a tenant means, "" for the operator's default, and what it says of processes. image is
// nil for the host's.
func (e *Engine) findImage(op, tenant, name string, rules *Rules) (image *library.Root, err error) {
	name = cmp.Or(name, rules.Image, hostImage)
	if err := rules.allowImage(op, name); err != nil {
		return nil, err
	}
	if name == hostImage {
		return nil, nil
	}
	if e.o.Images == nil {
		return nil, &Error{Op: op, Kind: KindInvalid, Reason: "UNKNOWN_IMAGE", Field: "image", Msg: fmt.Sprintf("no image %.300q here; there is %s", name, hostImage)}
	}
	root, err := e.o.Images.Use(tenant, name)
	if errors.Is(err, library.ErrNotFound) {
		return nil, &Error{Op: op, Kind: KindInvalid, Reason: "UNKNOWN_IMAGE", Field: "image", Msg: e.unknownImage(tenant, name)}
	}
	if err != nil {
		return nil, imageError(op, err)
	}
	return root, nil
}

// unknownImage says which images there are.
func (e *Engine) unknownImage(tenant, name string) string {
	names := []string{hostImage}
	if list, err := e.o.Images.List(tenant); err == nil {
		for _, i := range list {
			names = append(names, i.Name)
		}
	}
	const most = 10
	if len(names) > most {
		names = append(names[:most], "…")
	}
	return fmt.Sprintf("no image %.300q here; there are %s", name, strings.Join(names, ", "))
}

// imageEnv are the variables of an image that can be ones.
func imageEnv(list []string) map[string]string {
	env := map[string]string{}
	for _, e := range list {
		name, value, ok := strings.Cut(e, "=")
		if ok && name != "" && !strings.ContainsRune(e, 0) {
			env[name] = value
		}
	}
	return env
}

// useImage returns what the root file system of a sandbox is made over. The image is kept until the box is closed.
func (e *Engine) useImage(b *box, rec *Sandbox) (imageRoot, error) {
	if rec.ImageDigest == "" {
		return imageRoot{RootFS: e.sessionRoot}, nil
	}
	if err := e.keepImage(b, rec.ImageDigest); err != nil {
		return imageRoot{}, err
	}
	return imageRoot{RootFS: b.image.RootFS, made: b.image}, nil
}

// keepImage keeps an image from being removed as long as b is open.
func (e *Engine) keepImage(b *box, digest string) error {
	if e.o.Images == nil {
		return errors.New("this daemon has no images")
	}
	root, err := e.o.Images.Adopt(digest)
	if err != nil {
		return err
	}
	b.image = root
	b.undo.add(func(context.Context) error {
		root.Release()
		return nil
	})
	return nil
}

// settleImage gives a sandbox on an image what is its own of it, and the directory that its processes begin in.
func (e *Engine) settleImage(b *box, root string, image *library.Root, workdir string) error {
	to := func(id int) int {
		if id >= ProgramID && id < LauncherID {
			return int(b.block.Base()) + id - ProgramID
		}
		mapped, _ := ImageOwner(id)
		return mapped
	}
	if err := layer.Give(root, image.Own, wideNobody, to, ownBudget); err != nil {
		return err
	}
	if workdir == "" {
		return nil
	}
	return makeWorkdir(root, workdir)
}

// makeWorkdir makes a directory that an image names and does not have. Where links are in the way it is left to whoever
// starts a process there.
func makeWorkdir(root, dir string) error {
	r, err := os.OpenRoot(root)
	if err != nil {
		return fmt.Errorf("make working directory: %w", err)
	}
	defer r.Close()
	at := ""
	for _, name := range strings.Split(path.Clean("/" + dir)[1:], "/") {
		at = filepath.Join(at, name)
		err := r.Mkdir(at, 0o755)
		switch {
		case err == nil:
			if err := r.Lchown(at, wideRoot, wideRoot); err != nil {
				return fmt.Errorf("make working directory: %w", err)
			}
		case errors.Is(err, os.ErrExist):
		default:
			return nil // see above
		}
	}
	return nil
}

// imageError makes an [*Error] of what the library of images says.
func imageError(op string, err error) error {
	if err == nil {
		return nil
	}
	for _, k := range []struct {
		is     error
		kind   Kind
		reason string
		field  string
	}{
		{library.ErrNotFound, KindNotFound, "IMAGE_NOT_FOUND", "name"},
		{library.ErrInUse, KindConflict, "IMAGE_IN_USE", "name"},
		{library.ErrName, KindInvalid, "BAD_IMAGE_NAME", "name"},
		{layer.ErrTooLarge, KindInvalid, "IMAGE_TOO_LARGE", ""},
		{library.ErrContent, KindInvalid, "IMAGE_REFUSED", ""},
		{layer.ErrHostile, KindInvalid, "IMAGE_REFUSED", ""},
		{debian.ErrOptions, KindInvalid, "INVALID_ARGUMENT", ""},
		{debian.ErrMissing, KindUnsupported, "BUILD_UNSUPPORTED", ""},
		{debian.ErrFailed, KindUnavailable, "BUILD_FAILED", ""},
		{library.ErrRegistry, KindUnavailable, "REGISTRY_FAILED", "reference"},
	} {
		if errors.Is(err, k.is) {
			return &Error{Op: op, Kind: k.kind, Reason: k.reason, Field: k.field, Msg: err.Error()}
		}
	}
	switch {
	case errors.Is(err, context.Canceled):
		return &Error{Op: op, Kind: KindCanceled, Reason: "CANCELED", Msg: "the caller went away", Err: err}
	case errors.Is(err, syscall.ENOSPC):
		return &Error{Op: op, Kind: KindExhausted, Reason: "DISK_FULL", Msg: "the server's disk is full", Err: err}
	}
	return internal(op, "work with images", err)
}

// allowImage refuses an image that the operator does not allow.
func (r *Rules) allowImage(op, name string) error {
	if r.Images == nil || slices.ContainsFunc(r.Images, func(pattern string) bool { return matchImage(pattern, name) }) {
		return nil
	}
	return &Error{Op: op, Kind: KindDenied, Reason: "IMAGE_NOT_ALLOWED", Field: "image",
		Msg: fmt.Sprintf("the operator does not allow the image %.300q for this key; allowed: %s", name, cmp.Or(strings.Join(r.Images, ", "), "none"))}
}

// matchImage tells whether a name is one that a pattern of the policy means: itself, with any tag when the pattern has none,
// or what begins as it does before a "*" at its end.
func matchImage(pattern, name string) bool {
	if start, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, start)
	}
	return pattern == name || strings.HasPrefix(name, pattern+":")
}
