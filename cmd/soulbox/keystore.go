package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/soulbox/soulbox/rpc/auth"
	"github.com/soulbox/soulbox/store"
)

// The indexes of the keys' table.
const (
	keysByID     = "id"     // over all tenants: a request does not say whose key it brings
	keysByNewest = "newest" // tenant, time of creation
)

// keyRecord is how an API key lies on disk, as JSON; the field names are the disk format.
type keyRecord struct {
	Label     string    `json:"label"`
	Hash      auth.Hash `json:"sha256"`
	CreatedAt time.Time `json:"createdAt"`
}

// keyStore keeps API keys in the store. It implements [auth.KeyStore].
type keyStore struct{ keys *store.Table[keyRecord] }

var _ auth.KeyStore = (*keyStore)(nil)

// newKeyStore returns the keys in s. There can be one in a store.
func newKeyStore(s *store.Store) (*keyStore, error) {
	t, err := store.NewTable(s, "keys", store.JSON[keyRecord](),
		store.Index[keyRecord]{Name: keysByID, Mode: store.Unique, Global: true, Entry: func(k store.Key, _ keyRecord) (store.Entry, bool) {
			return store.Entry{Parts: [][]byte{[]byte(k.ID)}}, true
		}},
		store.Index[keyRecord]{Name: keysByNewest, Entry: func(_ store.Key, r keyRecord) (store.Entry, bool) {
			return store.Entry{Parts: [][]byte{store.NewestFirst(r.CreatedAt)}}, true
		}},
	)
	if err != nil {
		return nil, fmt.Errorf("open table of API keys: %w", err)
	}
	return &keyStore{t}, nil
}

func (r keyRecord) key(k store.Key) auth.Key {
	return auth.Key{ID: k.ID, Tenant: k.Tenant, Label: r.Label, Hash: r.Hash, CreatedAt: r.CreatedAt}
}

// PutKey implements [auth.KeyStore].
func (s *keyStore) PutKey(ctx context.Context, k auth.Key) error {
	r := keyRecord{Label: k.Label, Hash: k.Hash, CreatedAt: k.CreatedAt.UTC()}
	return keyError(s.keys.Create(ctx, store.Key{Tenant: k.Tenant, ID: k.ID}, r))
}

// Key implements [auth.KeyStore].
func (s *keyStore) Key(ctx context.Context, id string) (auth.Key, error) {
	k, r, err := s.keys.Lookup(ctx, keysByID, "", []byte(id))
	if err != nil {
		return auth.Key{}, keyError(err)
	}
	return r.key(k), nil
}

// name returns the label of a key, "" for one that is not there.
func (s *keyStore) name(id string) string {
	k, err := s.Key(context.Background(), id)
	if err != nil {
		return "" // such as the environment's key; a store that fails has failed the key's check before
	}
	return k.Label
}

// ListKeys implements [auth.KeyStore].
func (s *keyStore) ListKeys(ctx context.Context, tenant string) ([]auth.Key, error) {
	var list []auth.Key
	q := store.Query{Tenant: tenant, Index: keysByNewest}
	err := s.keys.Each(ctx, q, func(r store.Row[keyRecord]) error {
		list = append(list, r.Value.key(r.Key))
		return nil
	})
	return list, err
}

// DeleteKey implements [auth.KeyStore].
func (s *keyStore) DeleteKey(ctx context.Context, tenant, id string) error {
	return keyError(s.keys.Delete(ctx, store.Key{Tenant: tenant, ID: id}))
}

// keyError says what the store's errors mean to package auth.
func keyError(err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return auth.ErrKeyNotFound
	case errors.Is(err, store.ErrExists):
		return auth.ErrKeyExists
	}
	return err
}
