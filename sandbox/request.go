package sandbox

import (
	"time"
)

// ID names a sandbox or an execution: "i" and 20 characters of [a-z0-9], a DNS label.
type ID string

// Limits bound one execution's program. A zero field means: the recipe's default.
type Limits struct {
	WallTime  time.Duration // from the program's start; JSON wallTime
	CPUTime   time.Duration // user and system time of the whole process tree; JSON cpuTime
	Memory    int64         // bytes, at least 4 MiB, swap is off; JSON memoryBytes
	Processes int64         // processes and threads at once; JSON processes
	OpenFiles int64         // descriptors of one process; JSON openFiles
	FileSize  int64         // bytes of one file; JSON fileBytes
	Disk      int64         // bytes held in the program's tmpfs; JSON diskBytes
	Inodes    int64         // files and directories held there; JSON inodes
	Output    int64         // bytes of stdout and stderr together; JSON outputBytes
}

// LimitName is a field of [Limits] in the API's JSON spelling, as used in limitsHit, clamped and unenforced.
type LimitName string

// The names of the limits.
const (
	LimitWallTime  LimitName = "wallTime"
	LimitCPUTime   LimitName = "cpuTime"
	LimitMemory    LimitName = "memoryBytes"
	LimitProcesses LimitName = "processes"
	LimitOpenFiles LimitName = "openFiles"
	LimitFileSize  LimitName = "fileBytes"
	LimitDisk      LimitName = "diskBytes"
	LimitInodes    LimitName = "inodes"
	LimitOutput    LimitName = "outputBytes"
)

// File is a regular file of the work directory: given with a request, or asked back with Request.Outputs.
type File struct {
	Path    string // relative to the work directory, slash-separated, no "..", at most 4095 bytes
	Content []byte
	Mode    uint32 // permission bits; 0 means 0644
}

// Request asks for one execution.
type Request struct {
	Tenant string // whose it is; empty means "default"
	Client string // id of the key that asks: the unit of fairness and of request ids

	RequestID  string // optional idempotency key of the client's, at most 128 bytes
	Language   string // name or alias of a recipe
	Code       string // written to Entrypoint; not together with Files
	Files      []File // the program's files; Entrypoint names the one to run
	Entrypoint string // default: the recipe's
	Stdin      []byte
	Args       []string
	Env        map[string]string
	Limits     Limits
	Image      string   // that the language's programs are in; empty means the operator's default
	Runtime    string   // "runc"; empty means the default
	Outputs    []string // paths in the work directory to return afterwards; missing ones are left out

	Place *Place // taken before the body was read; nil: Start takes one. Start owns it from the call on.
}
