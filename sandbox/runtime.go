package sandbox

import "context"

// Runtime starts and ends the containers that sandboxes live in. An implementation is safe for concurrent use, and
// passes the tests of package sandboxtest.
type Runtime interface {
	// Info says what the runtime can do on this host.
	Info() RuntimeInfo
	// Start starts PID 1 of the bundle (an OCI bundle directory, whose config.json is complete) and returns once it
	// runs. PID 1's output goes to the file stderr. When Start fails nothing is left of the container.
	Start(ctx context.Context, id ID, bundle, stderr string) error
	// Destroy ends the container, everything in it, and forgets it, whoever started it. It returns when nothing of
	// it runs any more. An absent container is not an error.
	Destroy(ctx context.Context, id ID) error
	// List names the containers that exist, those of an earlier daemon included.
	List(ctx context.Context) ([]ID, error)
}
