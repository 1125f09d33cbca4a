package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// block is a fenced block of a document.
type block struct {
	line   int // of its first line of text
	kind   string
	file   string // where its text is to be written
	reason string // why it is not to be run
	typed  bool   // it is typed at a terminal
	text   []string
}

// step is one thing to do: commands to run, or a file to write.
type step struct {
	line     int
	file     string // the file that text becomes; empty: text is to be run
	text     string
	want     []string // what it prints
	compared bool     // whether that matters
	strict   bool     // any failing command in it fails it; else only the last one's status counts
}

// blocks finds the fenced blocks of a document.
func blocks(document string) ([]block, error) {
	var (
		found []block
		open  *block
		fence string
		errs  []error
	)
	for i, line := range strings.Split(document, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case open != nil && trimmed == fence:
			found = append(found, *open)
			open = nil
		case open != nil:
			open.text = append(open.text, line)
		case strings.HasPrefix(trimmed, "```"):
			info := strings.TrimLeft(trimmed, "`")
			fence = strings.Repeat("`", len(trimmed)-len(info))
			b, err := opening(i+2, info)
			if err != nil {
				errs = append(errs, err)
			}
			open = &b
		}
	}
	if open != nil {
		errs = append(errs, fmt.Errorf("line %d: the block has no end", open.line))
	}
	return found, errors.Join(errs...)
}

// opening reads what stands behind the fence of a block.
func opening(line int, info string) (block, error) {
	kind, rest, _ := strings.Cut(strings.TrimSpace(info), " ")
	b := block{line: line, kind: kind}
	switch {
	case kind == "":
		return b, fmt.Errorf("line %d: the block names no language; text is one", line)
	case rest == "":
	case kind == "console" && rest == "terminal":
		b.typed = true
	case b.runs():
		reason, ok := strings.CutPrefix(rest, "norun ")
		if !ok {
			return b, fmt.Errorf("line %d: after %s may stand norun and a reason, not %q", line, kind, rest)
		}
		b.reason = reason
	case filepath.IsLocal(rest):
		b.file = rest
	default:
		return b, fmt.Errorf("line %d: %q is no file in the directory", line, rest)
	}
	return b, nil
}

// runs reports whether the block has commands.
func (b *block) runs() bool { return b.kind == "sh" || b.kind == "console" }

// steps returns what a block asks for.
func (b *block) steps() ([]step, error) {
	switch {
	case b.file != "":
		return []step{{line: b.line, file: b.file, text: strings.Join(b.text, "\n") + "\n"}}, nil
	case b.reason != "":
		return nil, nil
	case b.kind == "sh":
		return b.commands(), nil
	case b.typed:
		return b.session()
	case b.kind == "console":
		return b.transcript()
	}
	return nil, nil
}

// commands splits commands where a comment says what they print. A comment above all commands says something else.
func (b *block) commands() []step {
	var steps []step
	current := step{line: b.line, strict: true}
	for i, line := range b.text {
		comment, ok := strings.CutPrefix(line, "#")
		if ok && current.text != "" {
			current.want, current.compared = append(current.want, strings.TrimPrefix(comment, " ")), true
			continue
		}
		if current.compared {
			steps = append(steps, current)
			current = step{line: b.line + i, strict: true}
		}
		if !ok {
			current.text += line + "\n"
		}
	}
	if strings.TrimSpace(current.text) != "" {
		steps = append(steps, current)
	}
	return steps
}

// transcript splits a transcript into commands and what they print. A command goes on behind a backslash, and on lines that
// begin with "> ".
func (b *block) transcript() ([]step, error) {
	var steps []step
	goesOn := false
	for i, line := range b.text {
		command, begins := strings.CutPrefix(line, "$ ")
		more, quoted := strings.CutPrefix(line, "> ")
		last := len(steps) - 1
		switch {
		case goesOn:
			steps[last].text += line + "\n"
		case begins:
			steps = append(steps, step{line: b.line + i, text: command + "\n", compared: true})
		case last < 0:
			return nil, fmt.Errorf("line %d: a transcript begins with a command, after \"$ \"", b.line+i)
		case quoted && len(steps[last].want) == 0:
			steps[last].text += more + "\n"
		default:
			steps[last].want = append(steps[last].want, line)
		}
		goesOn = (begins || goesOn) && strings.HasSuffix(line, `\`)
	}
	return steps, nil
}

// session makes a step of a transcript of one command that runs at a terminal: what is typed there stands after prompts that
// end in "$ " or "# ". Of all that the terminal shows, what is printed in between is to be there, in this order.
func (b *block) session() ([]step, error) {
	command, ok := strings.CutPrefix(strings.Join(b.text[:min(len(b.text), 1)], ""), "$ ")
	if !ok {
		return nil, fmt.Errorf("line %d: a session begins with a command, after \"$ \"", b.line)
	}
	typed, want := "", []string{"…"}
	for _, line := range b.text[1:] {
		if m := regexp.MustCompile(`^\S*[$#] (.*)$`).FindStringSubmatch(line); m != nil {
			typed += m[1] + "\n"
			continue
		}
		want = append(want, "…"+line, "…") // a prompt that nobody saw may stand before it
	}
	text := fmt.Sprintf("printf %%s %s | script -qec %s /dev/null\n", quote(typed), quote(command))
	return []step{{line: b.line, text: text, want: want, compared: true}}, nil
}

// quote makes one word of text for a shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// serves reports whether the step starts a daemon.
func (s *step) serves() bool {
	return s.file == "" && regexp.MustCompile(`(?m)\bsoulbox serve\b.*&\s*(#.*)?$`).MatchString(s.text)
}

// asksStatus reports whether the step prints the status of the one before.
func (s *step) asksStatus() bool { return strings.TrimSpace(s.text) == "echo $?" }
