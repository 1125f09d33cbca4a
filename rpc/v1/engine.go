package v1

import (
	"context"
	"time"

	"github.com/soulbox/soulbox/sandbox"
)

// Executions runs and remembers programs. Errors are of type [*sandbox.Error].
type Executions interface {
	// Start queues r and returns at once; with a request id that r's client used before it returns the execution of
	// then. It owns r.Place from the call on. The execution outlives ctx.
	Start(ctx context.Context, r sandbox.Request) (sandbox.Handle, error)
	// Get returns the record of id as it is now.
	Get(ctx context.Context, tenant string, id sandbox.ID) (sandbox.Execution, error)
	// Cancel ends id and returns its record; it is no error when it is done already.
	Cancel(ctx context.Context, tenant string, id sandbox.ID) (sandbox.Execution, error)
	// List returns up to limit records after the cursor, newest first, and the next page's cursor, empty at the end.
	List(ctx context.Context, tenant string, f sandbox.Filter, limit int, cursor string) ([]sandbox.Execution, string, error)
}

// Languages knows what can be run.
type Languages interface {
	// Languages returns all recipes, those that are not installed too.
	Languages(ctx context.Context) ([]sandbox.Language, error)
}

// System knows the host.
type System interface {
	// Info returns the state of the engine now.
	Info(ctx context.Context) (sandbox.SystemInfo, error)
}

// Engine is all that the services ask of an engine; [*sandbox.Engine] is one.
type Engine interface {
	Executions
	Languages
	System
}

// Key is an API key as its owner sees it.
type Key struct {
	ID        string
	Name      string
	CreatedAt time.Time
	RevokedAt time.Time // zero while the key is good
}

// Keys keeps API keys. An absent key is a [*sandbox.Error] of [sandbox.KindNotFound].
type Keys interface {
	// Create makes a key of tenant and returns it with its secret, which is not kept.
	Create(ctx context.Context, tenant, name string) (Key, string, error)
	// List returns the keys of tenant.
	List(ctx context.Context, tenant string) ([]Key, error)
	// Revoke makes a key of tenant useless before it returns.
	Revoke(ctx context.Context, tenant, id string) (Key, error)
}

// Caller is who asks.
type Caller struct {
	Tenant string
	Client string // id of the key
}
