// Package sandboxtest has what tests of sandboxes share: [Main] runs a package's tests inside the wide namespace, as
// the daemon runs there, and [Open] assembles an engine from real parts. Its own tests are what every runtime must pass;
// they branch on nothing but what the runtime and the cgroups say of themselves.
//
// It holds no test of its own that could run without a sandbox. Only tests import it.
package sandboxtest
