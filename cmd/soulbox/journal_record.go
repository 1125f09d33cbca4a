package main

import (
	"time"

	"github.com/soulbox/soulbox/sandbox"
)

// The records below are how executions lie on disk, as JSON. Their field names are the disk format: they are never
// renamed or used again for something else, and new ones are optional. What may not be valid UTF-8 is a []byte, as JSON
// would alter it, and null is kept apart from empty. A time is an instant in UTC, to the nanosecond.
//
// What a program wrote can lie behind the JSON, compressed: then the fields of output are null, packed has their lengths,
// and a zero byte, which JSON never contains, stands between. See pack.

type executionRecord struct {
	ID         sandbox.ID          `json:"id"`
	Tenant     string              `json:"tenant"`
	Client     []byte              `json:"client"`
	RequestID  []byte              `json:"requestId"`
	BodyHash   []byte              `json:"bodyHash"`
	Language   []byte              `json:"language"`
	Runtime    []byte              `json:"runtime"`
	State      sandbox.State       `json:"state"`
	Run        stepRecord          `json:"run"`
	Compile    *stepRecord         `json:"compile"`
	Limits     limitsRecord        `json:"limits"`
	Clamped    []sandbox.LimitName `json:"clamped"`
	Unenforced []sandbox.LimitName `json:"unenforced"`
	Outputs    []fileRecord        `json:"outputs"`
	Detail     []byte              `json:"detail"`
	CreatedAt  time.Time           `json:"createdAt"`
	StartedAt  time.Time           `json:"startedAt"`
	EndedAt    time.Time           `json:"endedAt"`

	Image       []byte `json:"image,omitempty"` // none: of before there were any, the host's
	ImageDigest string `json:"imageDigest,omitempty"`

	OutputsExpired bool    `json:"outputsExpired,omitempty"`
	Packed         []int64 `json:"packed,omitempty"` // lengths of outputs, in the order of outputFields; -1 is null
}

type stepRecord struct {
	Verdict         sandbox.Verdict     `json:"verdict"`
	ExitCode        int                 `json:"exitCode"`
	Signal          []byte              `json:"signal"`
	Stdout          []byte              `json:"stdout"`
	Stderr          []byte              `json:"stderr"`
	StdoutTruncated bool                `json:"stdoutTruncated"`
	StderrTruncated bool                `json:"stderrTruncated"`
	Wall            time.Duration       `json:"wallNs"`
	User            time.Duration       `json:"userNs"`
	System          time.Duration       `json:"systemNs"`
	PeakMemory      int64               `json:"peakMemoryBytes"`
	LimitsHit       []sandbox.LimitName `json:"limitsHit"`
}

type limitsRecord struct {
	WallTime  time.Duration `json:"wallTimeNs"`
	CPUTime   time.Duration `json:"cpuTimeNs"`
	Memory    int64         `json:"memoryBytes"`
	Processes int64         `json:"processes"`
	OpenFiles int64         `json:"openFiles"`
	FileSize  int64         `json:"fileBytes"`
	Disk      int64         `json:"diskBytes"`
	Inodes    int64         `json:"inodes"`
	Output    int64         `json:"outputBytes"`
}

type fileRecord struct {
	Path    []byte `json:"path"`
	Content []byte `json:"content"`
	Mode    uint32 `json:"mode"`
}

func recordExecution(x *sandbox.Execution) *executionRecord {
	r := &executionRecord{
		ID: x.ID, Tenant: x.Tenant, Client: []byte(x.Client), RequestID: []byte(x.RequestID), BodyHash: x.BodyHash,
		Language: []byte(x.Language), Runtime: []byte(x.Runtime), State: x.State, Run: recordStep(&x.Step),
		Limits: limitsRecord(x.Limits), Clamped: x.Clamped, Unenforced: x.Unenforced, Detail: []byte(x.Detail),
		CreatedAt: x.CreatedAt.UTC(), StartedAt: x.StartedAt.UTC(), EndedAt: x.EndedAt.UTC(),
		OutputsExpired: x.OutputsExpired, Image: []byte(x.Image), ImageDigest: x.ImageDigest,
	}
	if x.Compile != nil {
		c := recordStep(x.Compile)
		r.Compile = &c
	}
	if x.Outputs != nil {
		r.Outputs = make([]fileRecord, len(x.Outputs))
	}
	for i, f := range x.Outputs {
		r.Outputs[i] = fileRecord{Path: []byte(f.Path), Content: f.Content, Mode: f.Mode}
	}
	return r
}

func (r *executionRecord) execution() *sandbox.Execution {
	x := &sandbox.Execution{
		ID: r.ID, Tenant: r.Tenant, Client: string(r.Client), RequestID: string(r.RequestID), BodyHash: r.BodyHash,
		Language: string(r.Language), Runtime: string(r.Runtime), State: r.State, Step: r.Run.step(), Image: string(r.Image), ImageDigest: r.ImageDigest,
		Limits: sandbox.Limits(r.Limits), Clamped: r.Clamped, Unenforced: r.Unenforced, Detail: string(r.Detail),
		CreatedAt: r.CreatedAt, StartedAt: r.StartedAt, EndedAt: r.EndedAt,
		OutputsExpired: r.OutputsExpired,
	}
	if r.Compile != nil {
		c := r.Compile.step()
		x.Compile = &c
	}
	if r.Outputs != nil {
		x.Outputs = make([]sandbox.File, len(r.Outputs))
	}
	for i, f := range r.Outputs {
		x.Outputs[i] = sandbox.File{Path: string(f.Path), Content: f.Content, Mode: f.Mode}
	}
	return x
}

func recordStep(s *sandbox.Step) stepRecord {
	return stepRecord{
		Verdict: s.Verdict, ExitCode: s.ExitCode, Signal: []byte(s.Signal), Stdout: s.Stdout, Stderr: s.Stderr,
		StdoutTruncated: s.StdoutTruncated, StderrTruncated: s.StderrTruncated,
		Wall: s.Usage.Wall, User: s.Usage.User, System: s.Usage.System, PeakMemory: s.Usage.PeakMemory, LimitsHit: s.LimitsHit,
	}
}

func (r *stepRecord) step() sandbox.Step {
	return sandbox.Step{
		Verdict: r.Verdict, ExitCode: r.ExitCode, Signal: string(r.Signal), Stdout: r.Stdout, Stderr: r.Stderr,
		StdoutTruncated: r.StdoutTruncated, StderrTruncated: r.StderrTruncated,
		Usage:     sandbox.Usage{Wall: r.Wall, User: r.User, System: r.System, PeakMemory: r.PeakMemory},
		LimitsHit: r.LimitsHit,
	}
}
