package auth

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/soulbox/soulbox/sandbox"
)

// DefaultTenant is whose the keys are that no one gave to another tenant.
const DefaultTenant = "default"

// maxLabel is the length of a label in bytes.
const maxLabel = 128

// Key is what is known of a key. The key itself cannot be had from it.
type Key struct {
	ID        string // public: in listings, logs and records
	Tenant    string
	Label     string // the owner's words; may be empty
	Hash      Hash
	CreatedAt time.Time
	RevokedAt time.Time // set only in what Revoke returns: revoked keys are not kept
}

// The errors of a [KeyStore].
var (
	ErrKeyNotFound = errors.New("no such API key")
	ErrKeyExists   = errors.New("an API key has this id already")
)

// KeyStore keeps keys. What it changes is on disk when the method returns, and seen by every call after that. It is
// safe for concurrent use.
type KeyStore interface {
	// PutKey stores a new key. Ids are unique over all tenants: one that is taken is ErrKeyExists.
	PutKey(ctx context.Context, k Key) error
	// Key returns the key with this id, of any tenant, or ErrKeyNotFound.
	Key(ctx context.Context, id string) (Key, error)
	// ListKeys returns the keys of a tenant, newest first.
	ListKeys(ctx context.Context, tenant string) ([]Key, error)
	// DeleteKey forgets a tenant's key, or returns ErrKeyNotFound.
	DeleteKey(ctx context.Context, tenant, id string) error
}

// Identity is who asks.
type Identity struct {
	Tenant string
	KeyID  string
}

// Keys makes, lists, revokes and checks API keys. Its methods are safe for concurrent use; those that the API calls
// answer a wrong label and an absent key with a [*sandbox.Error].
type Keys struct {
	store KeyStore
	now   func() time.Time // test hook
}

// NewKeys returns the keys kept in s.
func NewKeys(s KeyStore) *Keys { return &Keys{store: s, now: time.Now} }

// Create makes a key of tenant. The Secret is the only copy there will be.
func (k *Keys) Create(ctx context.Context, tenant, label string) (Key, Secret, error) {
	if err := checkLabel(label); err != nil {
		return Key{}, Secret{}, err
	}
	s := generate()
	made, err := k.add(ctx, tenant, label, s)
	if err != nil {
		return Key{}, Secret{}, err
	}
	return made, s, nil
}

func (k *Keys) add(ctx context.Context, tenant, label string, s Secret) (Key, error) {
	h := s.hash()
	made := Key{ID: h.id(), Tenant: tenant, Label: label, Hash: h, CreatedAt: k.now().UTC()}
	if err := k.store.PutKey(ctx, made); err != nil {
		return Key{}, fmt.Errorf("store API key %s: %w", made.ID, err)
	}
	return made, nil
}

func checkLabel(label string) error {
	bad := len(label) > maxLabel || !utf8.ValidString(label)
	for _, r := range label {
		bad = bad || unicode.IsControl(r)
	}
	if bad {
		return &sandbox.Error{Op: "auth.Create", Kind: sandbox.KindInvalid, Reason: "INVALID_LABEL", Field: "name",
			Msg: fmt.Sprintf("at most %d bytes of text on one line", maxLabel)}
	}
	return nil
}

// List returns the keys of tenant, newest first.
func (k *Keys) List(ctx context.Context, tenant string) ([]Key, error) {
	list, err := k.store.ListKeys(ctx, tenant)
	if err != nil {
		return nil, fmt.Errorf("list API keys of %s: %w", tenant, err)
	}
	return list, nil
}

// Revoke makes a tenant's key useless before it returns.
func (k *Keys) Revoke(ctx context.Context, tenant, id string) (Key, error) {
	was, err := k.store.Key(ctx, id)
	if err == nil && was.Tenant != tenant {
		err = ErrKeyNotFound
	}
	if err == nil {
		err = k.store.DeleteKey(ctx, tenant, id)
	}
	if errors.Is(err, ErrKeyNotFound) {
		return Key{}, &sandbox.Error{Op: "auth.Revoke", Kind: sandbox.KindNotFound, Reason: "NOT_FOUND", Field: "id",
			Msg: "no such API key", Err: err}
	} else if err != nil {
		return Key{}, fmt.Errorf("revoke API key %s: %w", id, err)
	}
	was.RevokedAt = k.now().UTC()
	return was, nil
}

// Check returns whose key s is, or [ErrKeyNotFound].
//
// The store looks for the public id only; how long that takes tells nothing about the rest of the hash, which is
// compared in constant time, and even the hash would not help to find a key.
func (k *Keys) Check(ctx context.Context, s Secret) (Identity, error) {
	h := s.hash()
	known, err := k.store.Key(ctx, h.id())
	if err != nil {
		return Identity{}, fmt.Errorf("look up API key: %w", err)
	}
	if !known.Hash.equal(h) {
		return Identity{}, fmt.Errorf("look up API key: %w", ErrKeyNotFound)
	}
	return Identity{Tenant: known.Tenant, KeyID: known.ID}, nil
}
