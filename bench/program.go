package bench

// Program is a program and what a daemon must make of it.
type Program struct {
	Name     string
	Language string
	Runtime  string // empty: the daemon's default
	File     string // entrypoint
	Code     string
	Stdin    string
	Limits   map[string]any // as in the API; nil: the language's defaults
	Verdict  string         // "VERDICT_OK"
	Stdout   string         // compared when Verdict is VERDICT_OK
	Host     Host           // the same program without SoulBox
}

// Host is how a program runs on the bare host, in a directory of its own.
type Host struct {
	File  string     // "": Program.File
	Code  string     // "": Program.Code
	Steps [][]string // the commands, one after the other; the last one's output is the program's
}

// verdictOK is the verdict of programs that exit with 0.
const verdictOK = "VERDICT_OK"

// Hello returns the smallest usual program of each language.
func Hello() []Program {
	const stdout = "hello\n"
	hello := func(language, file, code string, steps ...[]string) Program {
		return Program{Name: "hello", Language: language, File: file, Code: code, Verdict: verdictOK, Stdout: stdout, Host: Host{Steps: steps}}
	}
	const js = "console.log(\"hello\");\n"
	// Node 20 does not strip types: on the host stands what is left of the program without them.
	typescript := hello("typescript", "main.ts", "const text: string = \"hello\";\nconsole.log(text);\n", []string{"node", "main.js"})
	typescript.Host.File, typescript.Host.Code = "main.js", js
	return []Program{
		hello("python", "main.py", "print(\"hello\")\n", []string{"python3", "main.py"}),
		hello("javascript", "main.js", js, []string{"node", "main.js"}),
		typescript,
		hello("ruby", "main.rb", "puts \"hello\"\n", []string{"ruby", "main.rb"}),
		hello("php", "main.php", "<?php echo \"hello\\n\";\n", []string{"php", "main.php"}),
		hello("c", "main.c", "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n",
			[]string{"gcc", "-std=gnu17", "-O2", "-pipe", "-o", "a.out", "main.c", "-lm"}, []string{"./a.out"}),
		hello("cpp", "main.cpp", "#include <iostream>\nint main() { std::cout << \"hello\\n\"; }\n",
			[]string{"g++", "-std=c++20", "-O2", "-pipe", "-o", "a.out", "main.cpp"}, []string{"./a.out"}),
		hello("go", "main.go", "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"hello\") }\n",
			[]string{"go", "build", "-o", "a.out", "main.go"}, []string{"./a.out"}),
		hello("rust", "main.rs", "fn main() { println!(\"hello\"); }\n",
			[]string{"rustc", "--edition", "2021", "-O", "-o", "a.out", "main.rs"}, []string{"./a.out"}),
		hello("java", "Main.java", "public class Main {\n    public static void main(String[] args) { System.out.println(\"hello\"); }\n}\n",
			[]string{"javac", "Main.java"}, []string{"java", "-cp", ".", "Main"}),
	}
}

// Loops returns a program of each language that never ends, with a second of CPU time.
func Loops() []Program {
	loop := func(language, file, code string) Program {
		return Program{Name: "loop", Language: language, File: file, Code: code, Verdict: "VERDICT_CPU_LIMIT",
			Limits: map[string]any{"cpuTime": "1s", "wallTime": "120s"}}
	}
	const js = "for (;;);\n"
	return []Program{
		loop("python", "main.py", "while True: pass\n"),
		loop("javascript", "main.js", js),
		loop("typescript", "main.ts", js),
		loop("ruby", "main.rb", "loop {}\n"),
		loop("php", "main.php", "<?php set_time_limit(0); for (;;);\n"),
		loop("c", "main.c", "int main(void) { for (volatile int i = 0;; i++) {} }\n"),
		loop("cpp", "main.cpp", "int main() { for (volatile int i = 0;; i = i + 1) {} }\n"),
		loop("go", "main.go", "package main\n\nfunc main() {\n\tfor {\n\t}\n}\n"),
		loop("rust", "main.rs", "fn main() { loop { std::hint::spin_loop() } }\n"),
		loop("java", "Main.java", "public class Main {\n    public static void main(String[] args) { for (;;) {} }\n}\n"),
	}
}

// Mixed returns programs of all languages and of most verdicts, for [Load].
func Mixed() []Program {
	python := func(name, code, verdict string, limits map[string]any) Program {
		return Program{Name: name, Language: "python", File: "main.py", Code: code, Verdict: verdict, Limits: limits}
	}
	c := func(name, code, verdict string) Program {
		return Program{Name: name, Language: "c", File: "main.c", Code: code, Verdict: verdict}
	}
	sum := python("sum", "import sys\nprint(sum(map(int, sys.stdin.read().split())))\n", verdictOK, nil)
	sum.Stdin, sum.Stdout = "3 1 2\n", "6\n"
	return append(Hello(), sum,
		python("exit 3", "import sys\nsys.exit(3)\n", "VERDICT_RUNTIME_ERROR", nil),
		python("exception", "raise ValueError(1)\n", "VERDICT_RUNTIME_ERROR", nil),
		python("sleep", "import time\ntime.sleep(60)\n", "VERDICT_TIME_LIMIT", map[string]any{"wallTime": "1s"}),
		python("spin", "while True: pass\n", "VERDICT_CPU_LIMIT", map[string]any{"cpuTime": "1s", "wallTime": "60s"}),
		python("hog", "x = bytearray(256 << 20)\nprint(len(x))\n", "VERDICT_MEMORY_LIMIT", map[string]any{"memoryBytes": "67108864"}),
		python("chatter", "while True: print('x' * 1000)\n", "VERDICT_OUTPUT_LIMIT", map[string]any{"outputBytes": "65536"}),
		python("filler", "with open('f', 'wb') as f: f.write(b'x' * (8 << 20))\n", "VERDICT_DISK_LIMIT",
			map[string]any{"diskBytes": "1048576"}),
		python("forks", "import os, time\nfor i in range(64):\n    if os.fork() == 0: time.sleep(9); os._exit(0)\n", "VERDICT_PROCESS_LIMIT",
			map[string]any{"processes": 16}),
		c("abort", "#include <stdlib.h>\nint main(void) { abort(); }\n", "VERDICT_SIGNALLED"),
		c("syntax", "int main(void) { return }\n", "VERDICT_COMPILE_ERROR"),
	)
}
