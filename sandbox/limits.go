package sandbox

import (
	"fmt"
	"time"
)

// MinMemory is the smallest memory limit, in bytes, that an execution can ask for.
const MinMemory = 4 << 20

// limitField is one field of a Limits as a number: nanoseconds, bytes or a count.
type limitField struct {
	name LimitName
	get  func(*Limits) int64
	set  func(*Limits, int64)
}

// limitFields lists the fields of Limits in their order.
func limitFields() []limitField {
	number := func(name LimitName, field func(*Limits) *int64) limitField {
		return limitField{name, func(l *Limits) int64 { return *field(l) }, func(l *Limits, v int64) { *field(l) = v }}
	}
	duration := func(name LimitName, field func(*Limits) *time.Duration) limitField {
		return limitField{name, func(l *Limits) int64 { return int64(*field(l)) },
			func(l *Limits, v int64) { *field(l) = time.Duration(v) }}
	}
	return []limitField{
		duration(LimitWallTime, func(l *Limits) *time.Duration { return &l.WallTime }),
		duration(LimitCPUTime, func(l *Limits) *time.Duration { return &l.CPUTime }),
		number(LimitMemory, func(l *Limits) *int64 { return &l.Memory }),
		number(LimitProcesses, func(l *Limits) *int64 { return &l.Processes }),
		number(LimitOpenFiles, func(l *Limits) *int64 { return &l.OpenFiles }),
		number(LimitFileSize, func(l *Limits) *int64 { return &l.FileSize }),
		number(LimitDisk, func(l *Limits) *int64 { return &l.Disk }),
		number(LimitInodes, func(l *Limits) *int64 { return &l.Inodes }),
		number(LimitOutput, func(l *Limits) *int64 { return &l.Output }),
	}
}

// Resolve returns the limits in force for l, what the caller asked for: a zero field takes its value from defaults,
// and none exceeds policy, where zero means no maximum. clamped lists the fields of l, in their order, that policy
// lowered; a default above policy is lowered silently.
func (l Limits) Resolve(defaults, policy Limits) (effective Limits, clamped []LimitName) {
	for _, f := range limitFields() {
		asked := f.get(&l)
		value := asked
		if value == 0 {
			value = f.get(&defaults)
		}
		if most := f.get(&policy); most > 0 && value > most {
			value = most
			if asked != 0 {
				clamped = append(clamped, f.name)
			}
		}
		f.set(&effective, value)
	}
	return effective, clamped
}

// Validate returns what is wrong with l as a request's limits, nil when nothing is. prefix stands before a field's
// name in Error.Field: "limits" gives "limits.memoryBytes". It answers the concrete type so that callers can amend
// it; test the result before storing it in an error.
func (l Limits) Validate(prefix string) *Error {
	for _, f := range limitFields() {
		field := string(f.name)
		if prefix != "" {
			field = prefix + "." + field
		}
		switch v := f.get(&l); {
		case v < 0:
			return invalid("LIMIT_OUT_OF_RANGE", field, "must be 0 (the language's default) or more")
		case f.name == LimitMemory && v > 0 && v < MinMemory:
			return invalid("LIMIT_OUT_OF_RANGE", field,
				fmt.Sprintf("must be 0 (the language's default) or at least %d bytes (4 MiB)", MinMemory))
		}
	}
	return nil
}

// invalid returns the error for a request that is wrong at field.
func invalid(reason, field, msg string) *Error {
	return &Error{Op: "sandbox.Validate", Kind: KindInvalid, Reason: reason, Field: field, Msg: msg}
}
