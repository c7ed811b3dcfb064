//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// engines runs a test for each engine.
func engines(t *testing.T, run func(t *testing.T, engine string)) {
	for _, engine := range []string{"copy", "reactor"} {
		t.Run(engine, func(t *testing.T) { run(t, engine) })
	}
}

// visitors talk to that address without a pause until they are told to stop, and no talk may fail.
func visitors(t *testing.T, address string) (visits *atomic.Int64, stop func()) {
	visits = new(atomic.Int64)
	var over atomic.Bool
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for !over.Load() {
				if got, err := talk(address, "hello"); err != nil || got != "hello" {
					t.Errorf("a client got %q and %v", got, err)
					return
				}
				visits.Add(1)
			}
		})
	}
	return visits, func() { over.Store(true); all.Wait() }
}

// goOn sends a message on a connection that may have outlived its process's listeners.
func goOn(t *testing.T, c net.Conn, message string) {
	t.Helper()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, message); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(message))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != message {
		t.Fatalf("got %q and %v, want %q", got, err, message)
	}
}

// send sends a signal to a process that need not be a child.
func send(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
}

// status is what the operator's door tells of the process behind it; empty if it does not answer.
func status(t *testing.T, socket string) string {
	t.Helper()
	c := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) },
	}}
	answer, err := c.Get("http://localhost/v1/status")
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return string(text)
}

// Ten times the binary takes over from itself under load: no connection fails, and a session of the first
// process lives on in it.
func TestB43Upgrade(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		_, echo := echoServer(t, "127.0.0.1:0", "")
		socket := filepath.Join(shortTempDir(t), "weir.sock")
		file := configure(t, fmt.Sprintf("engine = %q\nbind_on = [\"127.0.0.1:0\", %q]\nhealth = { kind = \"none\" }", engine, "unix:"+socket), echo)
		door := filepath.Join(filepath.Dir(socket), "admin.sock")
		write(t, file, read(t, file)+fmt.Sprintf("[admin]\nbind_on = %q\n", "unix:"+door))
		p := start(t, ".", "run", "-v", "-c", file)
		address := logField(t, p.stderr.await(t, "listening for connections"), "bind_on")
		old := dial(t, address)
		goOn(t, old, "before")
		visits, stop := visitors(t, address)
		_, stopUnix := visitors(t, "unix:"+socket)
		pid := p.cmd.Process.Pid
		for i := range 10 {
			send(t, pid, syscall.SIGUSR2)
			line := p.stderr.awaitNth(t, "another process has taken over", i+1)
			next, err := strconv.Atoi(logField(t, line, "pid"))
			if err != nil || next == pid {
				t.Fatalf("took over: %s", line)
			}
			pid = next
			eventually(t, "the door to be that of the new process", func() bool { return strings.Contains(status(t, door), fmt.Sprintf(`"pid":%d`, pid)) })
			for range 10 {
				if got := status(t, door); !strings.Contains(got, fmt.Sprintf(`"pid":%d`, pid)) {
					t.Fatalf("the door answers %.80s after process %d has taken it over", got, pid)
				}
			}
			before := visits.Load()
			eventually(t, "clients to be served by the new process", func() bool { return visits.Load() > before+20 })
		}
		goOn(t, old, "after ten upgrades")
		stop()
		stopUnix()
		old.Close()
		send(t, pid, syscall.SIGTERM)
		p.wantExit(t, 0)
		t.Logf("%d visits during 10 upgrades", visits.Load())
	})
}

// A binary that cannot serve changes nothing.
func TestB43UpgradeThatFails(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		_, echo := echoServer(t, "127.0.0.1:0", "")
		file := configure(t, fmt.Sprintf("engine = %q\nbind_on = \"127.0.0.1:0\"\nhealth = { kind = \"none\" }", engine), echo)
		p := start(t, ".", "run", "-v", "-c", file)
		address := logField(t, p.stderr.await(t, "listening for connections"), "bind_on")
		good := read(t, file)
		write(t, file, "[frontend]\nbind_on = 7\n")
		p.signal(syscall.SIGUSR2)
		line := p.stderr.await(t, "cannot upgrade: nothing has changed")
		if !strings.Contains(line, "is not ready") {
			t.Errorf("the reason is %s", line)
		}
		if got, err := talk(address, "still here"); err != nil || got != "still here" {
			t.Errorf("got %q and %v", got, err)
		}
		write(t, file, good)
		p.signal(os.Interrupt)
		p.wantExit(t, 0)
	})
}

// The new process knows of each backend what the old one did: nobody is sent to one that is drained, or down, though
// by the file all begin up.
func TestB43UpgradeRemembersBackends(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		_, one := echoServer(t, "127.0.0.1:0", "one")
		_, two := echoServer(t, "127.0.0.1:0", "two")
		o := &operator{t: t, door: filepath.Join(shortTempDir(t), "admin.sock")}
		address := "unix:" + filepath.Join(filepath.Dir(o.door), "front.sock")
		file := configure(t, fmt.Sprintf("engine = %q\nbind_on = %q\nhealth = { interval = \"1h\", fast_interval = \"1h\", fall = 1 }", engine, address))
		write(t, file, read(t, file)+fmt.Sprintf("[[frontend.backend]]\nname = \"one\"\nforward_to = %q\n[[frontend.backend]]\nname = \"two\"\nforward_to = %q\n"+
			"[[frontend.backend]]\nname = \"dead\"\nforward_to = \"127.0.0.1:1\"\n[admin]\nbind_on = \"unix:%s\"\n", one, two, o.door))
		p := start(t, ".", "run", "-v", "-c", file)
		p.stderr.await(t, "backend is down")
		o.do("drain", "one")
		was := o.status()
		p.signal(syscall.SIGUSR2)
		pid, err := strconv.Atoi(logField(t, p.stderr.await(t, "another process has taken over"), "pid"))
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the door to be that of the new process", func() bool { return strings.Contains(status(t, o.door), fmt.Sprintf(`"pid":%d`, pid)) })
		for range 3 {
			if got, err := talk(address, ""); err != nil || got != "two\n" {
				t.Errorf("got %q and %v, want the only one that may serve", got, err)
			}
		}
		now := o.status()
		for i, b := range now.Frontends[0].Pool.Backends {
			if before := was.Frontends[0].Pool.Backends[i]; b.State != before.State || b.Reason != before.Reason {
				t.Errorf("backend %s is %s (%s), and was %s (%s)", b.Name, b.State, b.Reason, before.State, before.Reason)
			}
		}
		if len(now.Differs) != 1 || now.Differs[0].Who != was.Differs[0].Who || !now.Differs[0].At.Equal(was.Differs[0].At) {
			t.Errorf("differs from the file: %+v, and before %+v", now.Differs, was.Differs)
		}
		send(t, pid, syscall.SIGTERM)
		p.wantExit(t, 0)
	})
}

// One that has taken over a listener, and then cannot serve, leaves the path of a unix socket where it is. The path
// goes with the last weir that has it.
func TestB43UnixSocketOutlivesUpgrades(t *testing.T) {
	for _, toNoPath := range []bool{false, true} {
		engines(t, func(t *testing.T, engine string) { unixSocketOutlivesUpgrades(t, engine, toNoPath) })
	}
}

// unixSocketOutlivesUpgrades ends with a weir that has the unix socket, or with one that has not.
func unixSocketOutlivesUpgrades(t *testing.T, engine string, toNoPath bool) {
	_, echo := echoServer(t, "127.0.0.1:0", "")
	taken := listen(t, "127.0.0.1:0")
	path := filepath.Join(shortTempDir(t), "front.sock")
	keys := "engine = %q\nbind_on = [\"unix:%s\", %q]\nhealth = { kind = \"none\" }"
	file := configure(t, fmt.Sprintf(keys, engine, path, "127.0.0.1:0"), echo)
	p := start(t, ".", "run", "-v", "-c", file)
	p.stderr.awaitNth(t, "listening for connections", 2)
	good := read(t, file)
	write(t, file, read(t, configure(t, fmt.Sprintf(keys, engine, path, taken.Addr()), echo)))
	p.signal(syscall.SIGUSR2)
	p.stderr.await(t, "cannot upgrade: nothing has changed")
	if got, err := talk("unix:"+path, "still here"); err != nil || got != "still here" {
		t.Errorf("got %q and %v", got, err)
	}
	write(t, file, good)
	p.signal(syscall.SIGUSR2)
	line := p.stderr.await(t, "another process has taken over the listeners")
	p.stderr.await(t, `"message":"stopped"`)
	if got, err := talk("unix:"+path, "the next"); err != nil || got != "the next" {
		t.Errorf("got %q and %v", got, err)
	}
	pid, err := strconv.Atoi(logField(t, line, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	if toNoPath {
		write(t, file, read(t, configure(t, fmt.Sprintf("engine = %q\nbind_on = \"127.0.0.1:0\"\nhealth = { kind = \"none\" }", engine), echo)))
		send(t, pid, syscall.SIGUSR2)
		if pid, err = strconv.Atoi(logField(t, p.stderr.awaitNth(t, "another process has taken over the listeners", 2), "pid")); err != nil {
			t.Fatal(err)
		}
	}
	send(t, pid, syscall.SIGTERM)
	p.wantExit(t, 0) // of all: they share what they say it with
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the path is still there: %v", err)
	}
}

// SIGHUP goes over to what the file says now; a file that is wrong changes nothing and says where.
func TestB41Reload(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		_, first := echoServer(t, "127.0.0.1:0", "one")
		_, second := echoServer(t, "127.0.0.1:0", "two")
		keys := fmt.Sprintf("engine = %q\nbind_on = \"127.0.0.1:0\"\nhealth = { kind = \"none\" }", engine)
		file := configure(t, keys, first)
		p := start(t, ".", "run", "-v", "-c", file)
		address := logField(t, p.stderr.await(t, "listening for connections"), "bind_on")
		write(t, file, read(t, file)+"retires = 5\n")
		p.signal(syscall.SIGHUP)
		if line := p.stderr.await(t, "cannot reload: nothing has changed"); !strings.Contains(line, ":7:1: ") {
			t.Errorf("no position in %s", line)
		}
		if got, err := talk(address, "x"); err != nil || !strings.HasPrefix(got, "one") {
			t.Errorf("got %q and %v from the old configuration", got, err)
		}
		write(t, file, read(t, configure(t, keys, second)))
		p.signal(syscall.SIGHUP)
		p.stderr.await(t, "configuration reloaded")
		if got, err := talk(address, "x"); err != nil || !strings.HasPrefix(got, "two") {
			t.Errorf("got %q and %v from the new configuration", got, err)
		}
		p.signal(os.Interrupt)
		p.wantExit(t, 0)
	})
}

// When every descriptor for sessions is in use the operator's door still answers.
func TestB46DoorAnswers(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		_, echo := echoServer(t, "127.0.0.1:0", "")
		file := configure(t, fmt.Sprintf("engine = %q\nbind_on = \"127.0.0.1:0\"\nhealth = { kind = \"none\" }", engine), echo)
		door := filepath.Join(shortTempDir(t), "admin.sock")
		write(t, file, read(t, file)+fmt.Sprintf("[admin]\nbind_on = %q\n", "unix:"+door))
		p := startCommand(t, exec.Command("sh", "-c", "ulimit -n 128 && exec \"$0\" run -v -c \"$1\"", binary, file))
		address := logField(t, p.stderr.await(t, "listening for connections"), "bind_on")
		for range 100 {
			dial(t, address)
		}
		p.stderr.await(t, "no session is free")
		for range 10 {
			if got := status(t, door); !strings.Contains(got, `"state":"serving"`) {
				t.Fatalf("the door answers %.80q", got)
			}
		}
		p.signal(os.Interrupt)
		p.stderr.await(t, "\"stopping\"")
		p.signal(os.Interrupt)
		p.wantExit(t, 1)
	})
}
