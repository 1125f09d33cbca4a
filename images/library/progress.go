package library

// Stage is what is being done to get an image.
type Stage string

// The stages, in the order of a pull.
const (
	StageResolve  Stage = "resolve"
	StageDownload Stage = "download"
	StageUnpack   Stage = "unpack"
	StageBuild    Stage = "build"
)

// Progress is how far something is.
type Progress struct {
	Stage  Stage
	Digest string // of what is downloaded or unpacked
	Done   int64  // bytes
	Total  int64  // bytes; 0: nobody knows
	Text   string // what a build says
}

// Report is told of progress, often. It may be called from one goroutine at a time and must return soon.
type Report func(Progress)

// none is for who does not want to know.
func (r Report) orNone() Report {
	if r == nil {
		return func(Progress) {}
	}
	return r
}
