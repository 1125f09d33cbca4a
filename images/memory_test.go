package images

import (
	"syscall"
	"testing"
)

func TestOutOfMemory(t *testing.T) {
	const abort = syscall.SIGABRT
	for _, tt := range []struct {
		lang   string
		exit   int
		signal syscall.Signal
		stderr string
		want   bool
	}{
		{"python", 1, 0, "Traceback (most recent call last):\n  File \"main.py\", line 2, in <module>\nMemoryError\n", true},
		{"python", 1, 0, "Traceback:\nMemoryError: cannot allocate\n", true},
		{"python", 1, 0, "MemoryError\nTraceback\nValueError\n", false},
		{"python", 0, 0, "MemoryError\n", false},
		{"javascript", -1, abort, "<--- Last few GCs --->\nFATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n 1: 0x1 [node]\n", true},
		{"javascript", 134, 0, "JavaScript heap out of memory", true},
		{"javascript", -1, abort, "Assertion failed", false},
		{"javascript", -1, syscall.SIGSEGV, "JavaScript heap out of memory", false},
		{"javascript", 1, 0, "RangeError: Array buffer allocation failed", true},
		{"typescript", -1, abort, "JavaScript heap out of memory", true},
		{"java", 1, 0, "Exception in thread \"main\" java.lang.OutOfMemoryError: Java heap space\n\tat Main.main\n", true},
		{"java", 1, 0, "java.lang.OutOfMemoryError: unable to create native thread: possibly out of memory or process/resource limits reached", false},
		{"java", 1, 0, "Error occurred during initialization of VM\nCould not reserve enough space for object heap", true},
		{"java", 3, 0, "The system is out of resources.\nConsult the following stack trace for details.", true},
		{"java", 0, 0, "java.lang.OutOfMemoryError: Java heap space", false},
		{"go", 2, 0, "fatal error: runtime: out of memory\n\nruntime stack:\n", true},
		{"go", 2, 0, "fatal error: runtime: cannot allocate memory", true},
		{"go", 2, 0, "panic: out of luck", false},
		{"rust", -1, abort, "memory allocation of 1048576 bytes failed\n", true},
		{"rust", 101, 0, "thread 'main' panicked", false},
		{"cpp", -1, abort, "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n", true},
		{"cpp", -1, abort, "terminate called after throwing an instance of 'std::logic_error'\n", false},
		{"c", -1, abort, "std::bad_alloc", false},
		{"ruby", 1, 0, "main.rb:1: failed to allocate memory (NoMemoryError)\n", true},
		{"ruby", 1, 0, "[FATAL] failed to allocate memory\n", true},
		{"ruby", 1, 0, "undefined method (NoMethodError)\n", false},
		{"php", 255, 0, "PHP Fatal error:  Allowed memory size of 33554432 bytes exhausted (tried to allocate 2097152 bytes)\n", true},
		{"php", 1, 0, "\nmmap() failed: [12] Cannot allocate memory\nOut of memory", true},
		{"php", 255, 0, "PHP Fatal error: Uncaught", false},
	} {
		if got := mustFind(t, tt.lang).OutOfMemory(tt.exit, tt.signal, []byte(tt.stderr)); got != tt.want {
			t.Errorf("%s: OutOfMemory(%d, %v, %q) = %v, want %v", tt.lang, tt.exit, tt.signal, tt.stderr, got, tt.want)
		}
	}
}
