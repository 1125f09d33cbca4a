package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/soulbox/soulbox/images"
	"github.com/soulbox/soulbox/sandbox/agent/client"
)

const (
	// boxReserve is what a sandbox costs beside its program's memory limit, for admission: agent, launcher, the
	// kernel's share, and files that SoulBox itself wrote.
	boxReserve = 32 << 20
	// maxOutputs bounds the files of Request.Outputs together, in bytes.
	maxOutputs = 16 << 20
	// maxCarried bounds what a compile step may hand to the run step.
	maxCarried      = 512 << 20
	maxCarriedFiles = 20000
	// journalTime bounds the write of a result.
	journalTime = 30 * time.Second
)

// run takes an admitted execution to its end and settles it, whatever happens. The caller has its answer before the
// sandbox is taken apart: all that ran in it is dead by then, and the place in the queue is held until the end.
func (e *Engine) run(ctx context.Context, a *active, recipe *images.Recipe) {
	defer a.request.Place.Release()
	defer a.ground.release()
	b, err := e.execute(ctx, a, recipe)
	if b != nil {
		defer e.dismantle(ctx, b)
	}
	x := a.update(func(x *Execution) { e.concludeLocked(ctx, x, a, err) })
	if x.Verdict == VerdictInternal {
		e.log.Error("execution failed inside", "id", x.ID, "lang", x.Language, "runtime", x.Runtime, "err", err)
	}
	put, cancel := context.WithTimeout(context.WithoutCancel(ctx), journalTime)
	defer cancel()
	if err := e.o.Journal.Put(put, &x); err != nil {
		e.log.Error("result was not journalled", "id", x.ID, "err", err)
		x = a.update(func(x *Execution) {
			*x = x.clone()
			x.Step, x.Compile, x.Outputs = Step{Verdict: VerdictInternal, ExitCode: -1}, nil, nil
			x.Detail = "the result could not be stored"
		})
	}
	e.observe(a, &x)
	a.log.append(Event{Kind: EventResult, Execution: &x})
	close(a.done)
	e.forget(a)
}

// dismantle closes a sandbox that has done its work.
func (e *Engine) dismantle(ctx context.Context, b *box) {
	e.collectCoverage(ctx, b)
	if err := b.close(ctx); err != nil {
		e.log.Error("sandbox was not removed completely; a restart of the daemon reaps what is left", "id", b.id, "err", err)
	}
}

// concludeLocked fills in what remains of a record; a.mu is held.
func (e *Engine) concludeLocked(ctx context.Context, x *Execution, a *active, err error) {
	x.State, x.EndedAt = StateDone, time.Now().UTC()
	stopped := a.cancel || ctx.Err() != nil
	switch bad, refused := errors.AsType[*Error](err); {
	case stopped:
		if x.Verdict != VerdictCancelled && x.Usage == (Usage{}) {
			x.ExitCode = -1
		}
		x.Verdict = VerdictCancelled
		if !a.cancel {
			x.Detail = errDraining.Error()
		}
	case err == nil:
	case refused && bad.Kind != KindInternal:
		x.Step = Step{Verdict: VerdictInternal, ExitCode: -1}
		x.Detail = bad.Msg
	default:
		x.Step = Step{Verdict: VerdictInternal, ExitCode: -1}
		x.Detail = "SoulBox failed to run this; the daemon's log has the cause under this id"
	}
}

// execute waits for its turn, opens a sandbox and takes the recipe's steps. What the program does wrong is in the
// record; an error means that SoulBox failed or refused. The sandbox, not nil once it was opened, is the caller's to
// close.
func (e *Engine) execute(ctx context.Context, a *active, recipe *images.Recipe) (b *box, err error) {
	limits := a.Snapshot().Limits
	compile := compileLimits(recipe, a.most)
	plan, err := e.plan(a.request, recipe, a.ground, a.most, limits)
	if err != nil {
		return nil, err
	}
	spec := boxSpec{runtime: a.runtime, memory: limits.Memory, processes: limits.Processes + 4, recipe: recipe, ground: a.ground}
	if plan.Compile != nil {
		spec.memory, spec.processes = max(spec.memory, compile.Memory), max(spec.processes, compile.Processes+4)
	}
	if err := a.request.Place.Wait(ctx, spec.memory+boxReserve); err != nil {
		return nil, err
	}
	a.granted = time.Now()
	if spec.prepared, err = e.prepared(ctx, recipe, a.ground); err != nil {
		return nil, err
	}
	x := a.update(func(x *Execution) { x.State, x.StartedAt = StateRunning, time.Now().UTC() })
	spec.execution = &x
	if b, err = e.openBox(ctx, spec); err != nil {
		return nil, err
	}
	a.opened = time.Now()
	a.log.append(Event{Kind: EventStarted, Execution: &x})

	files := requestFiles(a.request, plan.Entrypoint)
	fill, room := func(ctx context.Context, s *slot) error { return s.WriteFiles(ctx, files) }, roomFor(files)
	if plan.Compile != nil {
		from, ok, err := e.compile(ctx, a, b, recipe, plan, compile, fill, room)
		if err != nil || !ok {
			return b, err
		}
		fill = func(ctx context.Context, s *slot) error {
			return s.CopyFrom(ctx, from.Slot, maxCarried, maxCarriedFiles)
		}
		room.copyOf = from
	}
	return b, e.runStep(ctx, a, b, recipe, plan, limits, fill, room)
}

// compile takes the compile step. ok is false when the program is not to be run.
func (e *Engine) compile(ctx context.Context, a *active, b *box, recipe *images.Recipe, plan images.Plan, l Limits, fill fillFunc, files room) (_ *slot, ok bool, err error) {
	s, step, err := e.step(ctx, a, b, stepSpec{name: "compile", command: *plan.Compile, limits: l, fill: fill, room: files, compile: true, outOfMemory: recipe.OutOfMemory})
	if err != nil {
		return nil, false, err
	}
	failed := step.Verdict != VerdictOK
	if step.Verdict == VerdictRuntimeError || step.Verdict == VerdictSignalled {
		step.Verdict = VerdictCompileError // what the compiler's own end means; limits keep their names
	}
	a.update(func(x *Execution) {
		x.Compile = step
		if failed {
			verdict, hit := Judge(Facts{CompileFailed: true, Cancelled: step.Verdict == VerdictCancelled})
			x.Step = Step{Verdict: verdict, LimitsHit: hit, ExitCode: -1}
		}
	})
	return s, !failed, nil
}

// runStep takes the run step and reads the files asked for.
func (e *Engine) runStep(ctx context.Context, a *active, b *box, recipe *images.Recipe, plan images.Plan, l Limits, fill fillFunc, files room) error {
	s, step, err := e.step(ctx, a, b, stepSpec{name: "run", command: *plan.Run, limits: l, stdin: a.request.Stdin, fill: fill, room: files, outOfMemory: recipe.OutOfMemory})
	if err != nil {
		return err
	}
	var outputs []File
	if s != nil && len(a.request.Outputs) > 0 && step.Verdict != VerdictCancelled {
		bounded, cancel := context.WithTimeout(ctx, agentTime)
		defer cancel()
		read, err := s.ReadFiles(bounded, a.request.Outputs, maxOutputs)
		if err != nil {
			return fmt.Errorf("read outputs: %w", err)
		}
		for _, f := range read {
			outputs = append(outputs, File(f))
		}
	}
	a.update(func(x *Execution) { x.Step, x.Outputs = *step, outputs })
	return nil
}

// plan turns a request of a client who can ask for most into commands.
func (e *Engine) plan(r Request, recipe *images.Recipe, g ground, most, l Limits) (images.Plan, error) {
	in := images.PlanInput{
		Code: []byte(r.Code), Entrypoint: r.Entrypoint, Args: r.Args, Env: r.Env,
		Programs: g.status(recipe).Programs, ImageEnv: g.env, CompileMemory: compileLimits(recipe, most).Memory, Memory: l.Memory,
	}
	for _, f := range r.Files {
		in.Files = append(in.Files, f.Path)
	}
	p, err := recipe.Plan(in)
	// Only the plan knows which of the files is the entrypoint, whose content can change the plan.
	if i := slices.IndexFunc(r.Files, func(f File) bool { return f.Path == p.Entrypoint }); err == nil && i >= 0 {
		in.Code = r.Files[i].Content
		p, err = recipe.Plan(in)
	}
	if errors.Is(err, images.ErrPlan) {
		return p, &Error{Op: "sandbox.Start", Kind: KindInvalid, Reason: "BAD_ENTRYPOINT", Field: "entrypoint", Msg: err.Error()}
	}
	return p, err
}

// requestFiles lists the files to write before the first step.
func requestFiles(r Request, entrypoint string) []client.File {
	if len(r.Files) == 0 {
		return []client.File{{Path: entrypoint, Content: []byte(r.Code), Mode: 0o644}}
	}
	files := make([]client.File, 0, len(r.Files))
	for _, f := range r.Files {
		if f.Mode == 0 {
			f.Mode = 0o644
		}
		files = append(files, client.File(f))
	}
	return files
}

// roomFor is what files take in a tmpfs, and at most with the directories that lead to them.
func roomFor(files []client.File) room {
	const page = 4096
	var r room
	for _, f := range files {
		r.bytes += (int64(len(f.Content)) + page - 1) / page * page
		r.inodes += int64(strings.Count(f.Path, "/")) + 1
	}
	return r
}

// compileLimits are the recipe's: a caller's limits are for the run step.
func compileLimits(recipe *images.Recipe, most Limits) Limits {
	l, _ := Limits{}.Resolve(fromImages(recipe.Compile), most)
	return l
}

// fromImages converts a recipe's limits.
func fromImages(l images.Limits) Limits { return Limits(l) }

// collectCoverage keeps the agent's coverage counters where GOCOVERDIR says, as every program built with -cover does.
func (e *Engine) collectCoverage(ctx context.Context, b *box) {
	dir := os.Getenv("GOCOVERDIR")
	if dir == "" {
		return
	}
	meta, counters, err := b.agent.Coverage(ctx)
	if err == nil {
		err = writeCoverage(dir, meta, counters)
	}
	if err != nil {
		e.log.Debug("no coverage from the agent", "id", b.id, "err", err)
	}
}
