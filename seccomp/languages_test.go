package seccomp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// language is a program and the commands, absolute paths first, that build and run it.
type language struct {
	name   string
	file   string
	source string
	steps  [][]string
}

// languages use what a filter could break: threads, children, temporary files, sockets, interfaces and name look-up.
func languages() []language {
	return []language{
		{"shell", "main.sh", `x=$(echo 42 | cat); mkfifo p; (echo $x > p) & cat p; wait; test "$x" = 42 && echo ok`,
			[][]string{{"/bin/sh", "main.sh"}}},
		{"python", "main.py", `
import concurrent.futures, multiprocessing, socket, subprocess, tempfile, os, asyncio, ctypes
print(42)
def twice(x): return 2 * x
if __name__ == "__main__":
    with concurrent.futures.ThreadPoolExecutor() as e: assert list(e.map(twice, range(9)))[8] == 16
    with multiprocessing.Pool(2) as p: assert p.map(twice, [4]) == [8]
    assert subprocess.run(["/bin/echo", "hi"], capture_output=True).stdout == b"hi\n"
    assert socket.if_nameindex()
    socket.getaddrinfo("127.0.0.1", 80)
    s = socket.create_server(("127.0.0.1", 0)); c = socket.create_connection(s.getsockname()); c.close(); s.close()
    with tempfile.NamedTemporaryFile() as f: os.fsync(f.fileno())
    asyncio.run(asyncio.sleep(0.01))
    print("ok")
`, [][]string{{"/usr/bin/python3", "main.py"}}},
		{"node", "main.js", `
const os = require("os"), { execFileSync } = require("child_process"), { Worker } = require("worker_threads"), fs = require("fs");
console.log(42);
if (execFileSync("/bin/echo", ["hi"]).toString() !== "hi\n") process.exit(3);
os.networkInterfaces();
fs.readFile(__filename, () => {
  const server = require("net").createServer(s => s.end()).listen(0, "127.0.0.1", () => {
    require("net").connect(server.address().port, "127.0.0.1").on("close", () => {
      server.close();
      new Worker("", { eval: true }).on("exit", () => console.log("ok"));
    }).resume();
  });
});
`, [][]string{{"/usr/bin/node", "main.js"}}},
		{"java", "Main.java", `
import java.net.*; import java.util.stream.*;
public class Main { public static void main(String[] a) throws Exception {
  System.out.println(IntStream.range(0, 43).parallel().max().getAsInt());
  Process p = new ProcessBuilder("/bin/true").start();
  if (p.waitFor() != 0) System.exit(3);
  NetworkInterface.getNetworkInterfaces();
  ServerSocket s = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
  new Socket(s.getInetAddress(), s.getLocalPort()).close(); s.close();
  Thread t = new Thread(() -> System.out.println("ok")); t.start(); t.join();
} }
`, [][]string{{"/usr/bin/javac", "Main.java"}, {"/usr/bin/java", "-cp", ".", "Main"}}},
		{"c", "main.c", `
#include <stdio.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>
static void *f(void *p) { return p; }
int main(void) { pthread_t t; int s; puts("42"); fflush(stdout); if (pthread_create(&t, 0, f, 0) || pthread_join(t, 0)) return 3;
  if (fork() == 0) _exit(0); wait(&s); puts("ok"); return s; }
`, [][]string{{"/usr/bin/gcc", "-O2", "-pthread", "-o", "main", "main.c"}, {"./main"}}},
		{"address sanitizer", "main.c", "#include <stdio.h>\nint main(void) { puts(\"42\\nok\"); return 0; }\n",
			[][]string{{"/usr/bin/gcc", "-fsanitize=address", "-o", "main", "main.c"}, {"./main"}}},
		{"c++", "main.cpp", `
#include <future>
#include <iostream>
#include <thread>
int main() { std::cout << std::async(std::launch::async, [] { return 42; }).get() << std::endl; std::jthread([] { std::cout << "ok\n"; }); }
`, [][]string{{"/usr/bin/g++", "-std=c++20", "-o", "main", "main.cpp"}, {"./main"}}},
		{"rust", "main.rs", `
use std::{fs, net, process, thread};
fn main() { println!("{}", thread::spawn(|| 42).join().unwrap());
  assert!(process::Command::new("/bin/true").status().unwrap().success());
  let l = net::TcpListener::bind("127.0.0.1:0").unwrap(); net::TcpStream::connect(l.local_addr().unwrap()).unwrap();
  fs::copy("main.rs", "copy.rs").unwrap(); println!("ok"); }
`, [][]string{{"/usr/bin/rustc", "main.rs"}, {"./main"}}},
		{"go", "main.go", `package main
import ("os"; "runtime"; "time")
func main() { c := make(chan string); go func() { time.Sleep(time.Millisecond); runtime.GC(); c <- "42\nok\n" }(); os.Stdout.WriteString(<-c) }
`, [][]string{{"/usr/local/go/bin/go", "build", "-o", "main", "main.go"}, {"./main"}}},
		{"ruby", "main.rb", "require 'socket'; puts Thread.new { 42 }.value; s = TCPServer.new('127.0.0.1', 0); TCPSocket.new('127.0.0.1', s.addr[1]).close; Process.wait(fork { }); raise unless `/bin/echo hi` == \"hi\\n\"; Socket.getifaddrs; puts 'ok'\n",
			[][]string{{"/usr/bin/ruby", "main.rb"}}},
		{"php", "main.php", "<?php echo 42, \"\\n\"; if (shell_exec('echo hi') !== \"hi\\n\") exit(3); file_put_contents('f', 'x', LOCK_EX); $s = stream_socket_server('tcp://127.0.0.1:0'); fclose(stream_socket_client('tcp://' . stream_socket_get_name($s, false))); echo \"ok\\n\";\n",
			[][]string{{"/usr/bin/php", "main.php"}}},
	}
}

// TestLanguagesRunUnharmed builds and runs a program of each language under the program's filter. The agent's,
// which lies beneath it in a slot, allows all that the program's does; another test holds that.
func TestLanguagesRunUnharmed(t *testing.T) {
	for _, l := range languages() {
		t.Run(l.name, func(t *testing.T) {
			dir := workDirectory(t, l)
			var out []byte
			for _, step := range l.steps {
				out = runStep(t, dir, step)
			}
			if got, want := string(out), "42\nok\n"; got != want {
				t.Errorf("%s printed %q, want %q", l.file, got, want)
			}
		})
	}
}

// workDirectory returns a directory with l's program, open to programs of any id.
func workDirectory(t *testing.T, l language) string {
	t.Helper()
	for _, step := range l.steps {
		if filepath.IsAbs(step[0]) {
			_, err := os.Stat(step[0])
			if errors.Is(err, fs.ErrNotExist) {
				err = fmt.Errorf("%s is not installed: %w", step[0], errors.ErrUnsupported)
			}
			need(t, err)
		}
	}
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} { // TempDir makes both, for the tests' own id alone
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, l.file), []byte(l.source), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// runStep runs a command under the program's filter and returns its standard output.
func runStep(t *testing.T, dir string, step []string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c := child(ctx, t, Program(), "exec", step...)
	c.Dir = dir
	c.Env = append(c.Env, "PATH=/usr/local/bin:/usr/bin:/bin", "HOME="+dir, "TMPDIR="+dir, "LANG=C.UTF-8",
		"GOCACHE="+filepath.Join(dir, ".cache"), "GOTELEMETRY=off", "GOTOOLCHAIN=local", "CGO_ENABLED=0")
	out, err := c.Output()
	if err != nil {
		var stderr []byte
		if x, ok := errors.AsType[*exec.ExitError](err); ok {
			stderr = x.Stderr
		}
		t.Fatalf("%q: %v\n%s%s", step, err, out, stderr)
	}
	return out
}
