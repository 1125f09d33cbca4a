package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
)

const (
	secretPrefix = "e2b_" // what E2B's clients insist on
	secretBytes  = 20     // of randomness, written as 40 hex digits
	idDigits     = 12     // hex digits of a hash that make a key's public id
)

// Secret is an API key. It prints, logs and marshals as a placeholder; only [Secret.Reveal] gives it away.
type Secret struct{ s string }

const redacted = "[API key]"

// NewSecret wraps a key that came from outside.
func NewSecret(s string) Secret { return Secret{s} }

// generate returns a new random key. It never fails, see [rand.Read].
func generate() Secret {
	var b [secretBytes]byte
	rand.Read(b[:])
	return Secret{secretPrefix + hex.EncodeToString(b[:])}
}

// Reveal returns the key itself.
func (s Secret) Reveal() string { return s.s }

// String implements [fmt.Stringer].
func (s Secret) String() string { return redacted }

// Format implements [fmt.Formatter], so that no verb prints the key.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler].
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Hash is the SHA-256 of a key. A slow or salted hash protects what can be guessed; 160 random bits cannot, and every
// request is hashed once.
type Hash [sha256.Size]byte

// hash returns the key's hash.
func (s Secret) hash() Hash { return sha256.Sum256([]byte(s.s)) }

// id returns the public id of the key with this hash. 48 bits of the hash tell nothing useful about the key.
func (h Hash) id() string { return hex.EncodeToString(h[:])[:idDigits] }

// equal compares in constant time.
func (h Hash) equal(other Hash) bool { return subtle.ConstantTimeCompare(h[:], other[:]) == 1 }
