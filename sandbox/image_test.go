package sandbox

import (
	"errors"
	"fmt"
	"testing"

	"github.com/soulbox/soulbox/images/layer"
	"github.com/soulbox/soulbox/images/library"
)

// TestImageOwner: what an image's files belong to is one id for all sandboxes, and never one that a sandbox has for itself.
func TestImageOwner(t *testing.T) {
	for id, want := range map[int]struct {
		mapped int
		own    bool
	}{0: {1, false}, 999: {1000, false}, 1000: {1001, true}, 1030: {1001, true}, 1031: {1001, false}, 65534: {1001, false}, 4_000_000_000: {1001, false}, -1: {1001, false}} {
		if mapped, own := ImageOwner(id); mapped != want.mapped || own != want.own {
			t.Errorf("ImageOwner(%d) = %d, %t; want %d, %t", id, mapped, own, want.mapped, want.own)
		}
	}
}

func TestAllowImage(t *testing.T) {
	for _, c := range []struct {
		allowed []string
		name    string
		ok      bool
	}{
		{nil, "anything", true}, {[]string{}, "host", false}, {[]string{"host"}, "host", true}, {[]string{"python"}, "python", true},
		{[]string{"python"}, "python:3", true}, {[]string{"python:3"}, "python", false}, {[]string{"python"}, "python3", false},
		{[]string{"registry.example/*"}, "registry.example/a/b:1", true}, {[]string{"registry.example/*"}, "registry.example.org/a", false}, {[]string{"*"}, "x", true},
	} {
		r := Rules{Images: c.allowed}
		if err := r.allowImage("op", c.name); (err == nil) != c.ok || err != nil && KindOf(err) != KindDenied {
			t.Errorf("%q of %q: %v, want it allowed: %t", c.name, c.allowed, err, c.ok)
		}
	}
}

func TestImageError(t *testing.T) {
	for reason, err := range map[string]error{
		"IMAGE_NOT_FOUND": library.ErrNotFound, "IMAGE_IN_USE": library.ErrInUse, "IMAGE_REFUSED": layer.ErrHostile, "IMAGE_TOO_LARGE": layer.ErrTooLarge,
		"REGISTRY_FAILED": library.ErrRegistry, "BAD_IMAGE_NAME": library.ErrName, "INTERNAL": errors.New("secret"),
	} {
		got := imageError("op", fmt.Errorf("more: %w", err))
		if e, ok := errors.AsType[*Error](got); !ok || e.Reason != reason || reason == "INTERNAL" && e.Msg == "more: secret" {
			t.Errorf("imageError(%v) = %v, want %s", err, got, reason)
		}
	}
	if err := imageError("op", nil); err != nil {
		t.Errorf("imageError(nil) = %v", err)
	}
}
