//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// releases makes directories with a weir each, beside each other, and a link to the first.
func releases(t *testing.T, names ...string) (dir string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		install(t, filepath.Join(dir, name, "weir"))
	}
	point(t, filepath.Join(dir, "current"), names[0])
	return dir
}

// install puts a copy of weir there, as package managers do: beside it, then renamed.
func install(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".part", []byte(read(t, binary)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".part", path); err != nil {
		t.Fatal(err)
	}
}

// point makes a link point elsewhere, in one step.
func point(t *testing.T, link, to string) {
	t.Helper()
	if err := os.Symlink(to, link+".part"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".part", link); err != nil {
		t.Fatal(err)
	}
}

// running is the file that a process was started from.
func running(t *testing.T, pid int) string {
	t.Helper()
	file, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// An upgrade starts what the command line named, looked up when it is: of releases beside each other, the one that
// is current by now, also when the one before is gone.
func TestUpgradeStartsWhatTheCommandLineNamed(t *testing.T) {
	file := configure(t, "bind_on = \"127.0.0.1:0\"\nhealth = { kind = \"none\" }", "127.0.0.1:1")
	shell := func(dir, script string, env ...string) *exec.Cmd {
		cmd := exec.Command("sh", "-c", script+" run -v -c "+file)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
		return cmd
	}
	for _, c := range []struct {
		name  string
		start func(dir string) *exec.Cmd
	}{
		{"absolute", func(dir string) *exec.Cmd { return shell("/", "exec "+dir+"/current/weir") }},
		{"relative", func(dir string) *exec.Cmd { return shell(dir, "exec current/weir") }},
		{"in the directory of the link", func(dir string) *exec.Cmd { return shell(dir, "cd current && exec ./weir") }},
		{"by PATH", func(dir string) *exec.Cmd { return shell("/", "exec weir", "PATH="+dir+"/current:"+os.Getenv("PATH")) }},
		{"by a relative PATH", func(dir string) *exec.Cmd { return shell(dir, "exec weir", "PATH=nowhere:current") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := releases(t, "1", "2", "3")
			p := startCommand(t, c.start(dir))
			p.stderr.await(t, "listening for connections")
			pid := p.cmd.Process.Pid
			for i, release := range []string{"2", "3"} {
				point(t, filepath.Join(dir, "current"), release)
				if err := os.RemoveAll(filepath.Join(dir, strconv.Itoa(i+1))); err != nil {
					t.Fatal(err)
				}
				pid = upgraded(t, p, pid, i+1)
				if got, want := running(t, pid), filepath.Join(dir, release, "weir"); got != want {
					t.Fatalf("after upgrade %d %s runs, want %s", i+1, got, want)
				}
			}
			send(t, pid, syscall.SIGTERM)
			p.wantExit(t, 0)
		})
	}
}

// upgraded has the n-th upgrade made and returns the process that serves then.
func upgraded(t *testing.T, p *process, pid, n int) (next int) {
	t.Helper()
	send(t, pid, syscall.SIGUSR2)
	line := p.stderr.awaitNth(t, "another process has taken over", n)
	next, err := strconv.Atoi(logField(t, line, "pid"))
	if err != nil {
		t.Fatalf("no process took over: %s", line)
	}
	return next
}

// A first word that is not the name of the program is none to start: what stands where the binary was is, also
// when that was replaced.
func TestUpgradeWithAnotherFirstWord(t *testing.T) {
	file := configure(t, "bind_on = \"127.0.0.1:0\"\nhealth = { kind = \"none\" }", "127.0.0.1:1")
	dir := releases(t, "1")
	path := filepath.Join(dir, "1", "weir")
	cmd := exec.Command(path, "run", "-v", "-c", file)
	cmd.Args[0] = "/bin/sh"
	p := startCommand(t, cmd)
	p.stderr.await(t, "listening for connections")
	install(t, path)
	pid := upgraded(t, p, p.cmd.Process.Pid, 1)
	if got := running(t, pid); got != path {
		t.Errorf("%s runs, want %s", got, path)
	}
	send(t, pid, syscall.SIGTERM)
	p.wantExit(t, 0)
}

// A binary that is nowhere changes nothing, and the reason names where one is looked for.
func TestUpgradeWithoutABinary(t *testing.T) {
	file := configure(t, "bind_on = \"127.0.0.1:0\"\nhealth = { kind = \"none\" }", "127.0.0.1:1")
	dir := releases(t, "1", "2")
	named := filepath.Join(dir, "current", "weir")
	p := startCommand(t, exec.Command(named, "run", "-v", "-c", file))
	p.stderr.await(t, "listening for connections")
	if err := os.RemoveAll(filepath.Join(dir, "1")); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGUSR2)
	line := p.stderr.await(t, "cannot upgrade: nothing has changed")
	for _, want := range []string{named, filepath.Join(dir, "1", "weir")} {
		if !strings.Contains(line, want) {
			t.Errorf("%s is not in %s", want, line)
		}
	}
	point(t, filepath.Join(dir, "current"), "2")
	p.signal(syscall.SIGUSR2)
	pid, err := strconv.Atoi(logField(t, p.stderr.await(t, "another process has taken over"), "pid"))
	if err != nil {
		t.Fatal(err)
	}
	send(t, pid, syscall.SIGTERM)
	p.wantExit(t, 0)
}
