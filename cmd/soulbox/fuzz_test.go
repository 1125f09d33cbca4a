package main

import (
	"strings"
	"testing"

	"github.com/soulbox/soulbox/rpc/auth"
	"github.com/soulbox/soulbox/store"
)

// FuzzListeners: whatever the table of sockets holds, owners are user ids.
func FuzzListeners(f *testing.F) {
	f.Add("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"+
		"   0: 0100007F:115C 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0000000000000000 100 0 0 10 0\n", uint16(4444))
	f.Add("0: 00000000000000000000000001000000:115C 0:0 0A 0 0 0 -1\n", uint16(4444))
	f.Add("0: :115C 0:0 0A 0 0 0 x\n", uint16(4444))
	f.Fuzz(func(t *testing.T, table string, port uint16) {
		owners, err := listeners(strings.NewReader(table), port)
		if err != nil {
			return
		}
		for _, o := range owners {
			if o < 0 || o > 1<<32-1 {
				t.Errorf("listeners(%q, %d) = %v", table, port, owners)
			}
		}
	})
}

// FuzzSmallRecords: whatever a disk holds in place of a key or of a sandbox is refused or read.
func FuzzSmallRecords(f *testing.F) {
	boxes, keys := store.JSON[boxRecord](), store.JSON[keyRecord]()
	for _, seed := range []string{"", "{}", "null", `{"id":"i00000000000000000000","block":-1}`, `{"label":"x","createdAt":"2026-01-02T03:04:05Z"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := boxes.Decode(b); err == nil {
			if _, err := boxes.Encode(r); err != nil {
				t.Errorf("a sandbox read from %q cannot be written: %v", b, err)
			}
		}
		if r, err := keys.Decode(b); err == nil {
			_ = r.key(store.Key{Tenant: auth.DefaultTenant, ID: "0"})
		}
	})
}
