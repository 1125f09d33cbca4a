package sandbox

import (
	"context"
	"time"
)

// BoxRecord is what is kept of a sandbox while it exists: whose it is, and which block of ids it holds.
type BoxRecord struct {
	ID        ID
	Tenant    string
	Execution ID // what runs in it; empty for SoulBox's own sandboxes
	Runtime   string
	Block     int
	CreatedAt time.Time
}

// SystemTenant is whose SoulBox's own sandboxes are: those that find out versions and prepare languages.
const SystemTenant = "system"

// Journal keeps executions, sandboxes and the blocks of ids they hold. Every method that changes something returns when the change is on disk.
// An implementation is safe for concurrent use and reports an absent record with [ErrNotFound].
type Journal interface {
	// Put stores x, replacing an older record of the same id. With a RequestID, (Tenant, Client, RequestID)
	// leads to it from then on.
	Put(ctx context.Context, x *Execution) error
	// Get returns the record of id if it belongs to tenant.
	Get(ctx context.Context, tenant string, id ID) (*Execution, error)
	// ByRequest returns the record that a client's request id leads to.
	ByRequest(ctx context.Context, tenant, client, requestID string) (*Execution, error)
	// List returns up to limit records of tenant, newest first, that f selects, after the opaque cursor
	// (empty: from the newest), and the cursor of the next page, empty at the end.
	List(ctx context.Context, tenant string, f Filter, limit int, cursor string) ([]*Execution, string, error)
	// Unfinished calls fn with every record of any tenant that is not done.
	Unfinished(ctx context.Context, fn func(*Execution) error) error

	// OpenBox stores a sandbox and its block, and x with them when it is not nil, all or nothing. It is an error
	// when another sandbox holds the block.
	OpenBox(ctx context.Context, b BoxRecord, x *Execution) error
	// CloseBox forgets a sandbox and its block.
	CloseBox(ctx context.Context, b BoxRecord) error
	// Boxes calls fn with every sandbox of any tenant.
	Boxes(ctx context.Context, fn func(BoxRecord) error) error
}

// ErrNotFound is what a [Journal] answers for an absent record.
var ErrNotFound = &Error{Op: "sandbox.Journal", Kind: KindNotFound, Reason: "NOT_FOUND", Msg: "no such record"}
