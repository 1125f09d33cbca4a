package sandbox

import (
	"crypto/rand"
	"strings"
)

const (
	idPrefix   = "i"
	idLength   = len(idPrefix) + 20
	idAlphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
)

// NewID returns a random ID of about 103 bits. It never fails: a system without random numbers ends the process, as
// [rand.Read] documents.
func NewID() ID {
	// A byte below the largest multiple of the alphabet's size is uniform over it; the others are drawn again.
	const uniform = 256 - 256%len(idAlphabet)
	id := append(make([]byte, 0, idLength), idPrefix...)
	var buf [32]byte
	for {
		rand.Read(buf[:])
		for _, b := range buf {
			if int(b) >= uniform {
				continue
			}
			if id = append(id, idAlphabet[int(b)%len(idAlphabet)]); len(id) == idLength {
				return ID(id)
			}
		}
	}
}

// ParseID returns s as an ID. A string that cannot be one names nothing that exists, hence [KindNotFound].
func ParseID(s string) (ID, error) {
	if id := ID(s); id.Valid() {
		return id, nil
	}
	return "", &Error{Op: "sandbox.ParseID", Kind: KindNotFound, Reason: "NOT_FOUND", Field: "id",
		Msg: `an id is "i" and 20 characters of a-z and 0-9`}
}

// Valid reports whether id has the form that [NewID] gives.
func (id ID) Valid() bool {
	rest, ok := strings.CutPrefix(string(id), idPrefix)
	return ok && len(id) == idLength &&
		!strings.ContainsFunc(rest, func(r rune) bool { return !strings.ContainsRune(idAlphabet, r) })
}
