package systemd

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"
	"github.com/coreos/go-systemd/v22/util"
)

// Answer is what was found out about a feature.
type Answer string

// The three answers.
const (
	AnswerYes     Answer = "yes"
	AnswerNo      Answer = "no"
	AnswerUnknown Answer = "unknown" // the service manager could not be asked
)

// Delegation is whether systemd leaves the control group of our unit to us.
type Delegation struct {
	Answer      Answer
	Unit        string   // "soulbox.service"; empty outside of units
	User        bool     // of the user's own service manager
	Controllers []string // handed over, sorted
	Detail      string   // why; where the answer is not yes, what to do
}

// Delegated asks the service manager about the unit that this process runs in. It has to be asked from the host's user
// namespace: the bus does not know the ids of another.
func Delegated(ctx context.Context) Delegation {
	const file = "/proc/self/cgroup"
	text, err := os.ReadFile(file)
	if err != nil {
		return Delegation{Answer: AnswerUnknown, Detail: err.Error()}
	}
	d := unitOf(string(text))
	switch {
	case !util.IsRunningSystemd():
		d.Answer, d.Detail = AnswerNo, "systemd does not run here"
	case d.Unit == "":
		d.Answer, d.Detail = AnswerNo, "this process is in no unit; start it with systemd-run --user -p Delegate=yes"
	default:
		d.ask(ctx)
	}
	return d
}

// unitOf finds the unit in the content of /proc/self/cgroup: the innermost service or scope of the line of cgroup v2
// or, on hybrid hosts, of systemd's own hierarchy.
func unitOf(text string) Delegation {
	var group string
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if parts[1] == "name=systemd" || parts[0] == "0" && group == "" {
			group = parts[2]
		}
	}
	for ; len(group) > 1; group = path.Dir(group) {
		name := path.Base(group)
		if strings.HasSuffix(name, ".service") || strings.HasSuffix(name, ".scope") {
			return Delegation{Unit: name, User: strings.Contains(path.Dir(group), "/user@")}
		}
	}
	return Delegation{}
}

// ask fills in what the service manager says of the unit.
func (d *Delegation) ask(ctx context.Context) {
	connect := dbus.NewSystemConnectionContext
	if d.User {
		connect = dbus.NewUserConnectionContext
	}
	conn, err := connect(ctx)
	if err != nil {
		d.Answer, d.Detail = AnswerUnknown, fmt.Sprintf("connect to the service manager: %v", err)
		return
	}
	defer conn.Close()
	kind := "Service"
	if strings.HasSuffix(d.Unit, ".scope") {
		kind = "Scope"
	}
	properties, err := conn.GetUnitTypePropertiesContext(ctx, d.Unit, kind)
	if err != nil {
		d.Answer, d.Detail = AnswerUnknown, fmt.Sprintf("ask about %s: %v", d.Unit, err)
		return
	}
	d.judge(properties)
}

// judge decides from the unit's properties.
func (d *Delegation) judge(properties map[string]any) {
	yes, _ := properties["Delegate"].(bool)
	if !yes {
		d.Answer, d.Detail = AnswerNo, d.Unit+" has no Delegate=yes: add it to the unit"
		return
	}
	controllers, _ := properties["DelegateControllers"].([]string)
	d.Controllers = slices.Sorted(slices.Values(controllers))
	d.Answer, d.Detail = AnswerYes, d.Unit+": "+strings.Join(d.Controllers, " ")
	var missing []string
	for _, c := range []string{"cpu", "memory", "pids"} {
		if !slices.Contains(d.Controllers, c) {
			missing = append(missing, c)
		}
	}
	if len(missing) > 0 {
		d.Answer = AnswerNo
		d.Detail = fmt.Sprintf("%s lacks %s: it needs Delegate=yes, and so does what is above it", d.Unit, strings.Join(missing, " "))
	}
}
