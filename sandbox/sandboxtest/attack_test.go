package sandboxtest_test

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"golang.org/x/tools/txtar"

	"github.com/soulbox/soulbox/sandbox"
	"github.com/soulbox/soulbox/sandbox/sandboxtest"
)

// attackFiles are the attacks, one in each file: testdata/attacks/AREA/NAME.txtar. A file begins with what the attack does
// and "key: value" lines, see [parseAttack]. Then come its programs, and what they must achieve:
//
//	attack.py, attack.c   the program; prelude.py, or prelude.h, stands before it
//	paths                 what is read afterwards as a file of its, through the API, or by a careless server
//	victim.py             runs beside it, elsewhere, once it has printed "holding", and prints what it had to do without
//	undefended            what it achieves outside of a sandbox, as a user of its own in throw-away namespaces
//	program, session      what it achieves in a sandbox: best nothing but its end
//
// A section can have variants for hosts that do not enforce a limit, and for a runtime: "program, memoryBytes unenforced".
//
//go:embed testdata/attacks
var attackFiles embed.FS

const attackRoot = "testdata/attacks"

// attack is a program that tries to reach, to hold or to break what it must not, and prints a line for each thing it achieved.
type attack struct {
	area, name string
	does       string         // one sentence
	stoppedBy  string         // what stops it, as a program and in a session
	limits     sandbox.Limits // of the sandbox
	as         []string       // who runs it in a session: "user", "root", "launcher"
	python     bool           // else C
	sections   map[string]string
}

func (a attack) String() string { return a.area + "/" + a.name }

// loadAttacks returns all attacks, in order.
func loadAttacks(t testing.TB) []attack {
	t.Helper()
	names, err := fs.Glob(attackFiles, attackRoot+"/*/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var all []attack
	for _, name := range names {
		text, err := attackFiles.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		a, err := parseAttack(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		a.area, a.name = path.Base(path.Dir(name)), strings.TrimSuffix(path.Base(name), ".txtar")
		all = append(all, a)
	}
	return all
}

// parseAttack reads one attack's file.
func parseAttack(text []byte) (attack, error) {
	archive := txtar.Parse(text)
	a := attack{as: []string{"user"}, sections: map[string]string{}}
	for line := range strings.Lines(string(archive.Comment)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "":
		case "does":
			a.does = value
		case "stopped by":
			a.stoppedBy = value
		case "as":
			a.as = strings.Split(value, ", ")
		case "limits":
			for word := range strings.FieldsSeq(value) {
				if err := setLimit(&a.limits, word); err != nil {
					return a, err
				}
			}
		default:
			return a, fmt.Errorf("unknown line %q", line)
		}
	}
	for _, f := range archive.Files {
		a.sections[f.Name] = string(f.Data)
	}
	_, a.python = a.sections["attack.py"]
	_, c := a.sections["attack.c"]
	if a.does == "" || a.stoppedBy == "" || a.python == c {
		return a, fmt.Errorf("an attack needs does, stopped by, and one program")
	}
	for _, section := range []string{"undefended", "program", "session"} {
		if _, ok := a.sections[section]; !ok {
			return a, fmt.Errorf("section %q is missing", section)
		}
	}
	return a, nil
}

// setLimit reads "memory=64MiB", "cpu=1s" and the like.
func setLimit(l *sandbox.Limits, word string) error {
	name, value, _ := strings.Cut(word, "=")
	if d, err := time.ParseDuration(value); err == nil {
		switch name {
		case "wall":
			l.WallTime = d
			return nil
		case "cpu":
			l.CPUTime = d
			return nil
		}
	}
	digits, unit := strings.CutSuffix(value, "MiB")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return fmt.Errorf("limit %q: %w", word, err)
	}
	if unit {
		n <<= 20
	}
	field, ok := map[string]*int64{"memory": &l.Memory, "processes": &l.Processes, "files": &l.OpenFiles, "filesize": &l.FileSize,
		"disk": &l.Disk, "inodes": &l.Inodes, "output": &l.Output}[name]
	if !ok {
		return fmt.Errorf("unknown limit %q", word)
	}
	*field = n
	return nil
}

// program is the text of an attack's program, or its victim's, with what all programs share before it.
func (a attack) program(t testing.TB, section string) (language, code string) {
	t.Helper()
	language, prelude, name := "c", "prelude.h", section+".c"
	if text, ok := a.sections[section+".py"]; ok {
		language, prelude, name = "python", "prelude.py", section+".py"
		if strings.HasPrefix(text, "#!") {
			t.Fatalf("%s/%s has an interpreter line", a, name)
		}
	}
	shared, err := attackFiles.ReadFile(attackRoot + "/" + prelude)
	if err != nil {
		t.Fatal(err)
	}
	return language, string(shared) + a.sections[name]
}

// section returns the name of the section that says what is expected where: the first there is of those for the user and
// the runtime, for what the host does not enforce, and of plain ones. With -update every user gets a section, and every
// runtime but runc a variant.
func (a attack) section(info sandbox.RuntimeInfo, confinement, user string) string {
	names := []string{confinement}
	if user != a.as[0] {
		names = []string{confinement + " " + user, confinement}
	}
	if *update && info.Name != "runc" {
		return names[0] + ", " + info.Name
	} else if *update && user != a.as[0] {
		return names[0]
	}
	conditions := []string{info.Name}
	for _, l := range []sandbox.LimitName{sandbox.LimitMemory, sandbox.LimitProcesses, sandbox.LimitCPUTime} {
		if !slices.Contains(info.Enforced, l) {
			conditions = append(conditions, string(l)+" unenforced")
		}
	}
	for _, name := range names {
		for _, c := range conditions {
			if _, ok := a.sections[name+", "+c]; ok {
				return name + ", " + c
			}
		}
		if _, ok := a.sections[name]; ok {
			return name
		}
	}
	return confinement
}

// attackTime bounds one run of an attack; each ends by itself much sooner.
const attackTime = 2 * time.Minute

// TestAttacks runs every attack outside of a sandbox, where it must bite, and under both confinements, where it must not.
// A sandbox beside it goes on working, and afterwards nothing is left.
func TestAttacks(t *testing.T) {
	p := sandboxtest.Open(t, nil)
	info := runtimeInfo(t, p)
	neighbour := open(t, p, sandbox.CreateSandbox{})
	host := hostOf(t, p)
	results := attackResults{}
	if *update {
		defer results.save(t, info)
	}
	for _, a := range loadAttacks(t) {
		t.Run(a.area+"/"+a.name, func(t *testing.T) {
			t.Run("undefended", func(t *testing.T) { a.check(t, "undefended", a.undefended(t, p, host)) })
			t.Run("program", func(t *testing.T) {
				got := a.asProgram(t, p, host)
				results.add(a, "program", got)
				a.check(t, a.section(info, "program", a.as[0]), got)
			})
			for _, user := range a.as {
				t.Run("session "+user, func(t *testing.T) {
					got := a.inSession(t, p, neighbour.with(t), user, host)
					results.add(a, "session "+user, got)
					a.check(t, a.section(info, "session", user), got)
				})
			}
			if got := neighbour.with(t).prints("", "echo well"); got != "well\n" {
				t.Errorf("the sandbox beside it says %q", got)
			}
		})
	}
}

// runtimeInfo returns what the engine's runtime says of itself.
func runtimeInfo(t *testing.T, p *sandboxtest.Parts) sandbox.RuntimeInfo {
	t.Helper()
	info, err := p.Engine.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info.Runtimes[0]
}

// check compares what an attack achieved with what it must; with -update that becomes what it must.
func (a attack) check(t *testing.T, section, got string) {
	t.Helper()
	written := got
	want := a.sections[section]
	if section == "undefended" { // hosts differ in what they close to everybody
		want, got = certain(want), certain(got)
	}
	if _, known := a.sections[section]; *update && (got != want || !known) {
		a.write(t, section, written)
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what it achieved differs (-want +got):\n%s", diff)
	}
}

// certain returns the lines without those that begin with "maybe: ".
func certain(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "maybe: ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// write replaces a section of the attack's file.
func (a attack) write(t *testing.T, section, text string) {
	t.Helper()
	name := filepath.Join(attackRoot, a.area, a.name+".txtar")
	old, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	archive, found := txtar.Parse(old), false
	for i, f := range archive.Files {
		if f.Name == section {
			archive.Files[i].Data, found = []byte(text), true
		}
	}
	if !found {
		plain, _, _ := strings.Cut(section, ", ")
		confinement, _, _ := strings.Cut(plain, " ")
		for _, base := range []string{plain, confinement} {
			i := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == base })
			if i >= 0 && base != section && string(archive.Files[i].Data) == text {
				return // as for others
			} else if i >= 0 && base != section {
				break
			}
		}
		archive.Files = append(archive.Files, txtar.File{Name: section, Data: []byte(text)})
	}
	if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

// holding is the line with which an attack says that it holds all that it could get.
const holding = "holding\n"

// asProgram runs it as one execution, and its victim as another.
func (a attack) asProgram(t *testing.T, p *sandboxtest.Parts, host host) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), attackTime)
	defer cancel()
	request := func(section string) sandbox.Request {
		language, code := a.program(t, section)
		return sandbox.Request{Client: "test", Language: language, Code: code, Args: host.args("program", "user", "1")}
	}
	r := request("attack")
	r.Limits, r.Outputs = a.limits, strings.Fields(a.sections["paths"])
	h, err := p.Engine.Start(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Cancel()
	var stdout bytes.Buffer
	victim := ""
	for ev, err := range h.Events(ctx, 0) {
		if err != nil {
			t.Fatalf("%v; it printed %.2000q", err, stdout.String())
		}
		if ev.Kind != sandbox.EventStdout || ev.Compile {
			continue
		}
		if stdout.Write(ev.Data); bytes.HasSuffix(stdout.Bytes(), []byte(holding)) && a.victim() {
			x := execute(t, p, request("victim"))
			logOutput(t, "victim", x.Stderr)
			victim = lines("the next one: ", outcome(string(x.Stdout), endOf(x)))
			h.Cancel()
		}
	}
	x, err := h.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	logOutput(t, "attack", x.Stderr)
	if x.Compile != nil {
		logOutput(t, "compiler", x.Compile.Stderr)
	}
	out := outcome(string(x.Stdout), endOf(x)) + victim
	for _, f := range x.Outputs {
		out += "read " + f.Path + "\n"
	}
	return out
}

// victim tells whether there is one.
func (a attack) victim() bool { return a.sections["victim.py"]+a.sections["victim.c"] != "" }

// endOf says how an execution ended, "" when well, or when the harness ended it.
func endOf(x sandbox.Execution) string {
	switch x.Verdict {
	case sandbox.VerdictOK, sandbox.VerdictCancelled:
		return ""
	case sandbox.VerdictRuntimeError:
		return fmt.Sprintf("exit %d", x.ExitCode)
	case sandbox.VerdictSignalled:
		return x.Signal
	}
	names := map[sandbox.Verdict]string{sandbox.VerdictCompileError: "compile error", sandbox.VerdictTimeLimit: "time limit", sandbox.VerdictCPULimit: "CPU limit",
		sandbox.VerdictMemoryLimit: "memory limit", sandbox.VerdictOutputLimit: "output limit", sandbox.VerdictDiskLimit: "disk limit",
		sandbox.VerdictProcessLimit: "process limit"}
	if name, ok := names[x.Verdict]; ok {
		return name
	}
	return fmt.Sprintf("verdict %d %s", x.Verdict, x.Detail)
}

// outcome puts together what was achieved and how it ended.
func outcome(stdout, end string) string {
	out := strings.TrimSuffix(stdout, holding)
	if end != "" {
		out += "(" + end + ")\n"
	}
	return out
}

// lines puts a prefix before each line.
func lines(prefix, text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(prefix + line)
	}
	return b.String()
}

// logOutput notes what a program said beside what it achieved.
func logOutput(t *testing.T, who string, stderr []byte) {
	t.Helper()
	if len(stderr) > 0 {
		t.Logf("%s on stderr: %s", who, stderr[:min(len(stderr), 4000)])
	}
}

// inSession runs it in a sandbox of its own that lives on, and its victim in the neighbour.
func (a attack) inSession(t *testing.T, p *sandboxtest.Parts, neighbour *livingBox, user string, host host) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), attackTime)
	defer cancel()
	b := open(t, p, sandbox.CreateSandbox{Limits: sandbox.SandboxLimits{Memory: a.limits.Memory, Processes: a.limits.Processes, OpenFiles: a.limits.OpenFiles, Disk: a.limits.Disk}})
	defer func() {
		if s := b.delete(); !s.State.Final() {
			t.Errorf("after its end: %+v", s)
		}
	}()
	u := b.use()
	pid, err := u.Launch(ctx, a.spec(t, b, u, "attack", user, host))
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	end, victim, held := "", "", false
	for ev, err := range u.Follow(ctx, pid, 0) {
		if err != nil {
			if s := b.awaitState(sandbox.SandboxFailed, patience); ctx.Err() == nil {
				return outcome(stdout.String(), sandboxEnd(s)) + victim
			}
			t.Fatalf("%v; it printed %.2000q", err, stdout.String())
		}
		if ev.Exit != nil && !held {
			end = sessionEnd(ev.Exit.Status)
		}
		if ev.Output == nil {
			continue
		}
		stdout.Write(ev.Output.Stdout)
		stderr.Write(ev.Output.Stderr)
		if bytes.HasSuffix(stdout.Bytes(), []byte(holding)) && a.victim() && !held {
			held = true
			r := neighbour.run(a.spec(t, neighbour, neighbour.use(), "victim", user, host))
			logOutput(t, "victim", []byte(r.stderr))
			victim = lines("the next one: ", outcome(r.stdout, sessionEnd(r.Status))+neighbour.watch(ctx))
			if err := u.Signal(ctx, pid, unix.SIGKILL, true); err != nil {
				t.Error(err)
			}
		}
	}
	logOutput(t, "attack", stderr.Bytes())
	out := outcome(stdout.String(), end) + victim
	for _, path := range strings.Fields(a.sections["paths"]) {
		if b.reads(ctx, u, path) {
			out += "read " + path + "\n"
		}
	}
	return out + b.health(ctx, u)
}

// reads tells whether the agent gives the content of a file, in a time in which it must answer.
func (b *livingBox) reads(ctx context.Context, u *sandbox.Use, path string) bool {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	content, err := u.Agent().ReadFile(ctx, "root", "/home/user/"+path, 0, 1<<20)
	if err == nil {
		defer content.Body.Close()
		var got []byte
		if got, err = io.ReadAll(content.Body); err == nil && len(got) > 0 {
			return true
		}
	}
	if ctx.Err() != nil {
		b.t.Errorf("reading %s hangs: %v", path, err)
	}
	return false
}

// watch says what keeps the agent of a sandbox from watching its files; "" when nothing does.
func (b *livingBox) watch(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	agent := b.use().Agent()
	for _, err := range agent.Watch(ctx, "", "/tmp", false) {
		if err != nil {
			return "its agent cannot watch: " + err.Error() + "\n"
		}
		break // it has begun
	}
	return ""
}

// health says what is wrong with a sandbox after an attack; "" when it runs programs still.
func (b *livingBox) health(ctx context.Context, u *sandbox.Use) string {
	pid, err := u.Launch(ctx, sandbox.ProcessSpec{Args: []string{"/bin/true"}, User: "root", Follow: true})
	if err == nil {
		var r ran
		if r, err = gather(ctx, u, pid, 0); err == nil && r.Status == 0 {
			return ""
		}
	}
	if s := b.get(); s.State != sandbox.SandboxRunning {
		return "(" + sandboxEnd(s) + ")\n"
	}
	return "(its sandbox takes no more programs)\n"
}

// sandboxEnd says why a sandbox has ended. How far it got beyond a limit before it was looked at is not always the same.
func sandboxEnd(s sandbox.Sandbox) string {
	reason, limit, found := strings.Cut(s.Reason, ": it wrote ")
	if _, over, ok := strings.Cut(limit, " bytes, more than "); found && ok {
		reason += ": it wrote more than " + over + " bytes"
	}
	return "sandbox failed: " + reason
}

// sessionEnd says how a process of a session ended, "" when well.
func sessionEnd(status unix.WaitStatus) string {
	switch {
	case status.Signaled():
		return unix.SignalName(status.Signal())
	case status.ExitStatus() != 0:
		return fmt.Sprintf("exit %d", status.ExitStatus())
	}
	return ""
}

// spec is the command that runs a program in a session. Programs in C are compiled there.
func (a attack) spec(t *testing.T, b *livingBox, u *sandbox.Use, section, user string, host host) sandbox.ProcessSpec {
	t.Helper()
	language, code := a.program(t, section)
	spec := sandbox.ProcessSpec{User: user, Follow: true, Stdin: true}
	if user == "launcher" {
		spec.User = "root"
	}
	args := host.args("session", user, "1")
	file := section + map[string]string{"python": ".py", "c": ".c"}[language]
	if err := u.Agent().WriteFile(t.Context(), "root", "/opt/attack/"+file, nil, strings.NewReader(code)); err != nil {
		t.Fatal(err)
	}
	if language == "python" {
		spec.Args = append([]string{"python3", "/opt/attack/" + file}, args...)
		return spec
	}
	b.with(t).prints("root", "cc -O1 -pthread -o /opt/attack/"+section+" /opt/attack/"+file)
	spec.Args = append([]string{"/opt/attack/" + section}, args...)
	return spec
}
