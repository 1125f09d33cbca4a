package sandboxtest_test

import (
	"testing"

	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }
