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

// obeyed are the signals that weir has something to do for.
var obeyed = []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2}

// earlyFile is a configuration whose reading waits: the path is a FIFO until it is let go.
type earlyFile struct{ path, text string }

func newEarlyFile(t *testing.T, engine, backend string) *earlyFile {
	t.Helper()
	text := fmt.Sprintf("[frontend]\nbind_on = \"127.0.0.1:0\"\nengine = %q\n[[frontend.backend]]\nforward_to = %q\n", engine, backend)
	f := &earlyFile{filepath.Join(shortTempDir(t), "weir.toml"), text}
	if err := syscall.Mkfifo(f.path, 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

// awaitReader waits until weir reads the file, and returns what lets it go on. A reload finds a file as any other.
func (f *earlyFile) awaitReader(t *testing.T) (letGo func()) {
	t.Helper()
	var fifo *os.File
	eventually(t, "weir to read its file", func() (opened bool) {
		var err error
		fifo, err = os.OpenFile(f.path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		return err == nil
	})
	t.Cleanup(func() { fifo.Close() })
	return func() {
		t.Helper()
		write(t, f.path+".new", f.text)
		if err := os.Rename(f.path+".new", f.path); err != nil {
			t.Fatal(err)
		}
		if _, err := fifo.WriteString(f.text); err != nil {
			t.Fatal(err)
		}
		fifo.Close()
	}
}

// serves holds weir to what an early signal asks of it, and ends it.
func serves(t *testing.T, p *process, s syscall.Signal) {
	t.Helper()
	switch s {
	case syscall.SIGHUP:
		p.stderr.await(t, "configuration reloaded")
	case syscall.SIGUSR1:
		p.stderr.await(t, "the log is not in a file: nothing to open again")
	case syscall.SIGUSR2:
		next, err := strconv.Atoi(logField(t, p.stderr.await(t, "another process has taken over the listeners"), "pid"))
		if err != nil {
			t.Fatal(err)
		}
		send(t, next, syscall.SIGTERM) // it has the same stderr, which p.done waits for
	}
	if s == syscall.SIGHUP || s == syscall.SIGUSR1 {
		address := logField(t, p.stderr.await(t, "listening for connections"), "bind_on")
		if got, err := talk(address, "hello\n"); err != nil || got != "left\nhello\n" {
			t.Errorf("got %q, %v", got, err)
		}
		p.signal(syscall.SIGTERM)
	}
	p.wantExit(t, 0)
}

// B71: what comes while weir still reads its file is obeyed afterwards.
func TestB71SignalBeforeTheFileIsRead(t *testing.T) {
	_, backend := echoServer(t, "127.0.0.1:0", "left")
	engines(t, func(t *testing.T, engine string) {
		for _, s := range obeyed {
			t.Run(s.String(), func(t *testing.T) {
				file := newEarlyFile(t, engine, backend)
				p := start(t, ".", "-v", "-c", file.path)
				letGo := file.awaitReader(t)
				p.signal(s)
				letGo()
				serves(t, p, s)
			})
		}
	})
}

// B71: a flood of the others pushes out none that is to end weir.
func TestB71FloodOfSignals(t *testing.T) {
	_, backend := echoServer(t, "127.0.0.1:0", "left")
	file := newEarlyFile(t, "auto", backend)
	p := start(t, ".", "-v", "-c", file.path)
	letGo := file.awaitReader(t)
	for range 5000 {
		p.signal(syscall.SIGHUP)
	}
	p.signal(syscall.SIGTERM)
	letGo()
	p.wantExit(t, 0)
}

// startCaught starts a command and returns as soon as it catches last, SIGHUP or SIGINT: it is started with these
// ignored, which they are until then.
func startCaught(t *testing.T, last syscall.Signal, args ...string) *process {
	t.Helper()
	cmd := exec.Command(binary, args...)
	shell(cmd, `trap '' HUP INT; exec "$0" "$@"`)
	p := startCommand(t, cmd)
	eventually(t, "it to catch "+last.String(), func() bool {
		for line := range strings.Lines(read(t, fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))) {
			if mask, ok := strings.CutPrefix(line, "SigCgt:\t"); ok {
				caught, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
				return err == nil && caught&(1<<(last-1)) != 0
			}
		}
		return false
	})
	return p
}

// B71: a signal in the first moment in which weir has a say.
func TestB71SignalAtOnce(t *testing.T) {
	_, backend := echoServer(t, "127.0.0.1:0", "left")
	engines(t, func(t *testing.T, engine string) {
		file := configure(t, fmt.Sprintf("bind_on = \"127.0.0.1:0\"\nengine = %q", engine), backend)
		for _, args := range [][]string{{"-v", "-c", file}, {"run", "-v", "-c", file}} {
			for _, s := range obeyed {
				t.Run(args[0]+" "+s.String(), func(t *testing.T) {
					p := startCaught(t, syscall.SIGHUP, args...)
					p.signal(s)
					serves(t, p, s)
				})
			}
		}
	})
}

// B71: commands that do not run a balancer, but until they are told to stop, end in good order as well.
func TestB71OtherCommands(t *testing.T) {
	for _, args := range [][]string{{"echo", "--listen", "127.0.0.1:0"}, {"demo", "--serve"}} {
		for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
			t.Run(args[0]+" "+s.String(), func(t *testing.T) {
				p := startCaught(t, syscall.SIGINT, args...)
				p.signal(s)
				if code := p.wait(t); args[0] == "echo" && code != 0 || code < 0 {
					t.Errorf("got exit code %d; stderr: %s", code, p.stderr)
				}
			})
		}
	}
}

// Commands that only ask or check leave signals to the system.
func TestShortCommandsEndWithASignal(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		file := newEarlyFile(t, "auto", "127.0.0.1:1")
		p := start(t, ".", "check", "-c", file.path)
		file.awaitReader(t)
		p.signal(s)
		p.wait(t)
		if status := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != s {
			t.Errorf("%v: %v", s, p.cmd.ProcessState)
		}
	}
}
