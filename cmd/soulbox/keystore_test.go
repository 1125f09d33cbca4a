package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/soulbox/soulbox/rpc/auth"
	"github.com/soulbox/soulbox/store"
)

func TestKeyStore(t *testing.T) {
	ctx, fs := context.Background(), vfs.NewMem()
	open := func() (*keyStore, *store.Store) {
		s, err := store.Open("/store", store.Options{FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		k, err := newKeyStore(s)
		if err != nil {
			t.Fatal(err)
		}
		return k, s
	}
	k, s := open()
	at := time.Unix(1700000000, 1).UTC()
	first := auth.Key{ID: "aa", Tenant: "t", Label: "ü", Hash: auth.Hash{1, 2}, CreatedAt: at}
	second := auth.Key{ID: "bb", Tenant: "t", Hash: auth.Hash{3}, CreatedAt: at.Add(1)}
	if err := errors.Join(k.PutKey(ctx, first), k.PutKey(ctx, second)); err != nil {
		t.Fatal(err)
	}
	for _, tenant := range []string{"t", "other"} {
		if err := k.PutKey(ctx, auth.Key{ID: "aa", Tenant: tenant}); !errors.Is(err, auth.ErrKeyExists) {
			t.Errorf("PutKey with a taken id for %s = %v, want ErrKeyExists", tenant, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	k, _ = open()
	got, err := k.ListKeys(ctx, "t")
	if d := cmp.Diff([]auth.Key{second, first}, got); err != nil || d != "" {
		t.Errorf("ListKeys after a restart: %v (-want +got):\n%s", err, d)
	}
	if got, err := k.ListKeys(ctx, "other"); err != nil || len(got) != 0 {
		t.Errorf("ListKeys of another tenant = %v, %v", got, err)
	}
	if got, err := k.Key(ctx, "aa"); err != nil || got != first {
		t.Errorf("Key = %v, %v, want %v", got, err, first)
	}
	if err := k.DeleteKey(ctx, "other", "aa"); !errors.Is(err, auth.ErrKeyNotFound) {
		t.Errorf("DeleteKey of another tenant = %v, want ErrKeyNotFound", err)
	}
	if err := k.DeleteKey(ctx, "t", "aa"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Key(ctx, "aa"); !errors.Is(err, auth.ErrKeyNotFound) {
		t.Errorf("Key after DeleteKey = %v, want ErrKeyNotFound", err)
	}
}
