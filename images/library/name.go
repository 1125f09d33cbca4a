package library

import (
	"fmt"
	"regexp"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// maxName bounds an image's name, in bytes.
const maxName = 255

// CheckName returns why name cannot be an image's, an error that wraps [ErrName].
func CheckName(name string) error {
	ok := regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]*(:[0-9]+)?(/[a-zA-Z0-9][a-zA-Z0-9._-]*)*(:[a-zA-Z0-9_][a-zA-Z0-9._-]*)?(@sha256:[0-9a-f]{64})?$`)
	switch {
	case len(name) > maxName || !ok.MatchString(name):
		return fmt.Errorf("%w: %.300q: letters, digits and - . _ in parts with / in between, then perhaps : and a tag", ErrName, name)
	case name == "host" || strings.HasPrefix(name, "sha256:"):
		return fmt.Errorf("%w: %q stands for something else", ErrName, name)
	}
	return nil
}

// tagged returns name with the tag that is meant where it has none.
func tagged(name string) string {
	last := name[strings.LastIndexByte(name, '/')+1:]
	if strings.ContainsAny(last, ":@") {
		return name
	}
	return name + ":latest"
}

// minPrefix is how much of a digest names an image, in hexadecimal digits.
const minPrefix = 12

// names tells whether asked means the image name with this digest.
func names(asked, name string, digest v1.Hash) bool {
	if tagged(asked) == name {
		return true
	}
	hex := strings.TrimPrefix(asked, "sha256:")
	return len(hex) >= minPrefix && strings.HasPrefix(digest.Hex, hex)
}
