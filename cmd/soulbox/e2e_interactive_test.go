package main_test

import "testing"

// TestInterpreter runs each language's interactive interpreter, in a sandbox that is gone afterwards.
func TestInterpreter(t *testing.T) {
	d := startDaemon(t)
	for _, tc := range []struct {
		language, prompt, code, want, quit string
		status                             int
	}{
		{"python", ">>> ", "print(6 * 7)\r", "\n42\r\n>>> ", "exit(3)\r", 3},
		{"javascript", "> ", "console.log(6 * 7)\r", "42\r\nundefined\r\n> ", "process.exit(3)\r", 3},
		// It asks the terminal where the cursor is, again and again, and waits for the answer.
		{"ruby", "\x1b[6n", "\x1b[1;2Rputs 6 * 7\r", "42\r\n=> nil\r\n\x1b[6n", "\x1b[1;1Rexit\r", 0},
		{"php", "php > ", "echo 6 * 7, PHP_EOL;\r", "\n42\r\nphp > ", "exit\r", 0},
		{"java", "jshell> ", "6 * 7\r", "==> 42", "/exit 3\r", 3},
	} {
		t.Run(tc.language, func(t *testing.T) {
			s := d.onTerminalNamed(t, "dumb", "run", "-l", tc.language, "--memory", "1G")
			s.until(t, tc.prompt)
			if tc.language == "ruby" {
				s.typed(t, "\x1b[1;2R", "\x1b[6n")
			}
			s.typed(t, tc.code, tc.want)
			if _, err := s.WriteString(tc.quit); err != nil {
				t.Fatal(err)
			}
			s.ends(t, tc.status)
			if left := d.soulbox(t, "sandbox", "list", "-q"); left != "" {
				t.Errorf("sandboxes are left: %s", left)
			}
		})
	}
	s := d.onTerminal(t, "run", "-l", "rust")
	s.until(t, "Rust has no interactive interpreter")
	s.ends(t, 125)
}
