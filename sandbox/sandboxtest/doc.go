// Package sandboxtest has what tests of sandboxes share: [Main] runs a package's tests inside the wide namespace, as
// the daemon runs there, [Open] assembles an engine from real parts, and [Suite] is what every runtime must pass.
//
// It holds no test of its own that could run without a sandbox. Only tests import it.
package sandboxtest
