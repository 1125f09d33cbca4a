package cgroups

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Feature is one thing that a host's control groups can do.
type Feature struct {
	Name   string // "cgroup.memory.peak"
	Answer Answer
	Detail string // what was found; where the answer is not yes, what the lack costs
}

// Probe tells what this host offers, without making or moving anything. What it calls possible can still be refused;
// [Open] finds out.
func Probe() []Feature { return thisHost().probe() }

// The features in the order in which they are told, with what their lack costs.
var featureCosts = [...]struct{ name, cost string }{
	{"cgroup.hierarchy", "no limit holds for a whole process tree"},
	{"cgroup.writable", "no limit holds for a whole process tree"},
	{"cgroup.delegated", "systemd may change what SoulBox sets up; use a unit with Delegate=yes"},
	{"cgroup.memory", "memory is limited for each process, not for the tree"},
	{"cgroup.pids", "processes are limited for each user id"},
	{"cgroup.cpu", "programs share the CPU without weights"},
	{"cgroup.cpuacct", "the CPU time of processes that nobody waits for is not counted"},
	{"cgroup.freeze", "a sandbox cannot be paused"},
	{"cgroup.kill", "ending a slot takes several rounds of signals"},
	{"cgroup.memory.peak", "the peak is the memory in use at the end"},
	{"cgroup.swap", "a program may use swap beyond its memory limit"},
	{"cgroup.psi", "pressure on the host is not seen"},
}

func (h host) probe() []Feature {
	found := map[string]Feature{}
	f, err := h.facts("")
	if err != nil {
		found["cgroup.hierarchy"] = Feature{Answer: AnswerUnknown, Detail: err.Error()}
	} else {
		h.probeFacts(f, found)
	}
	found["cgroup.psi"] = h.probePSI()
	var features []Feature
	for _, fc := range featureCosts {
		x := found[fc.name]
		x.Name = fc.name
		x.Answer = cmp.Or(x.Answer, AnswerUnknown)
		if x.Answer != AnswerYes {
			x.Detail = strings.TrimPrefix(x.Detail+": "+fc.cost, ": ")
		}
		features = append(features, x)
	}
	return features
}

func (h host) probeFacts(f facts, found map[string]Feature) {
	kind := "none"
	switch {
	case f.V2.Mount != "" && len(f.V1)+len(f.Others) > 0:
		kind = "hybrid: cgroup v1 with an empty v2 at " + f.V2.Mount
	case f.V2.Mount != "":
		kind = "unified: cgroup v2 at " + f.V2.Mount
	case len(f.V1) > 0:
		kind = "legacy: cgroup v1"
	}
	modes := f.modes()
	switch {
	case len(modes) == 0:
		for _, fc := range featureCosts {
			found[fc.name] = answer(false, "")
		}
		found["cgroup.writable"] = answer(false, errNone.Error())
	case modes[0] == ModeV2:
		found["cgroup.writable"] = answer(true, "v2 below "+f.V2.Base)
		h.probeV2(f, found)
	default:
		found["cgroup.writable"] = answer(true, "v1 below "+path.Dir(f.V1["memory"].Dir))
		h.probeV1(f, found)
	}
	found["cgroup.hierarchy"] = answer(kind != "none", kind)
}

func answer(yes bool, detail string) Feature {
	if yes {
		return Feature{Answer: AnswerYes, Detail: detail}
	}
	return Feature{Answer: AnswerNo, Detail: detail}
}

func (h host) probeV2(f facts, found map[string]Feature) {
	found["cgroup.delegated"] = Feature{Answer: f.V2.Delegated, Detail: f.V2.Base}
	if f.V2.Base == f.V2.Mount {
		found["cgroup.delegated"] = answer(true, "the hierarchy's root is ours")
	}
	for _, c := range v2Controllers {
		detail := "in " + f.V2.Base + "/cgroup.controllers"
		yes := slices.Contains(f.V2.Control, c)
		if !yes {
			detail = "not " + detail
		}
		found["cgroup."+c] = answer(yes, detail)
	}
	found["cgroup.cpuacct"] = answer(true, "cpu.stat")
	// The root of the hierarchy has none of the files; a group of ours would.
	file := func(feature, name string) {
		switch {
		case h.exists(path.Join(f.V2.Base, name)), h.exists(path.Join(f.V2.Own, name)):
			found[feature] = answer(true, name)
		case f.V2.Base == f.V2.Mount:
			found[feature] = Feature{Answer: AnswerUnknown, Detail: "the root group does not show " + name}
		default:
			found[feature] = answer(false, "no "+name)
		}
	}
	file("cgroup.freeze", "cgroup.freeze")
	file("cgroup.kill", "cgroup.kill")
	file("cgroup.memory.peak", "memory.peak")
	file("cgroup.swap", "memory.swap.max")
	h.probeNoSwap(found)
}

func (h host) probeV1(f facts, found map[string]Feature) {
	found["cgroup.delegated"] = answer(true, "not needed: this process is root of cgroup v1")
	for feature, controller := range map[string]string{
		"cgroup.memory": "memory", "cgroup.pids": "pids", "cgroup.cpu": "cpu", "cgroup.cpuacct": "cpuacct", "cgroup.freeze": "freezer",
	} {
		m, mounted := f.V1[controller]
		switch {
		case !mounted:
			found[feature] = answer(false, controller+" is not mounted")
		case !m.Writable:
			found[feature] = answer(false, m.Dir+" is not writable")
		default:
			found[feature] = answer(true, m.Dir)
		}
	}
	found["cgroup.kill"] = answer(false, "cgroup v1 has none")
	found["cgroup.memory.peak"] = answer(true, "memory.max_usage_in_bytes")
	const memsw = "memory.memsw.limit_in_bytes"
	found["cgroup.swap"] = answer(h.exists(path.Join(f.V1["memory"].Dir, memsw)), memsw)
	h.probeNoSwap(found)
}

// probeNoSwap forgives the lack of swap limits where there is no swap.
func (h host) probeNoSwap(found map[string]Feature) {
	if found["cgroup.swap"].Answer != AnswerYes && noSwap(&h) {
		found["cgroup.swap"] = answer(true, "the host has no swap")
	}
}

func (h host) probePSI() Feature {
	const file = "/proc/pressure/memory"
	text, err := h.readFile(file)
	if err != nil {
		return answer(false, fmt.Sprintf("no %s", file))
	}
	return answer(strings.HasPrefix(text, "some "), file)
}
