package sandboxtest_test

import (
	"flag"
	"os"
	"testing"

	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

var update = flag.Bool("update", false, "write what attacks achieved to testdata/attacks")

func TestMain(m *testing.M) {
	if len(os.Args) > 0 && os.Args[0] == undefendedName {
		os.Exit(undefendedMain())
	}
	sandboxtest.Main(m)
}
