package helper

// SocketFD is the descriptor on which the helper serves the daemon.
const SocketFD = 3

// ExecutableFD is the descriptor that the helper was executed from: its own sealed memfd.
const ExecutableFD = 4

// StartArgs ask for a container to be created and its PID 1 started.
type StartArgs struct {
	Root   string // libcontainer's state directory
	ID     string
	Bundle string // directory with config.json
	Stderr string // file to which PID 1's output is appended; empty: /dev/null
	// NoCgroups is set where no cgroup can be written: libcontainer then ignores that it cannot make one.
	NoCgroups bool
}

// StartReply has the started container's PID 1, as the wide pid namespace sees it.
type StartReply struct{ PID int }

// DestroyArgs name a container to end and forget.
type DestroyArgs struct{ Root, ID string }

// CompileArgs name a seccomp profile.
type CompileArgs struct{ Profile string }

// CompileReply has the profile's BPF: an array of struct sock_filter.
type CompileReply struct{ Filter []byte }

// VersionReply names the libraries in the helper.
type VersionReply struct {
	Libcontainer string
	Libseccomp   string
}

// None is an empty message.
type None struct{}
