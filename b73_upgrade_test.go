//go:build linux

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A successor whose file has another address that overlaps the one of before: no client is refused.
func TestB73Upgrade(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		_, echo := echoServer(t, "127.0.0.1:0", "")
		free := listen(t, "[::]:0")
		port := free.Addr().(*net.TCPAddr).Port
		free.Close()
		file := configure(t, "")
		say := func(host string) {
			text := fmt.Sprintf("engine = %q\nbind_on = %q\nhealth = { kind = \"none\" }", engine, net.JoinHostPort(host, strconv.Itoa(port)))
			write(t, file, read(t, configure(t, text, echo)))
		}
		say("127.0.0.1")
		p := start(t, ".", "run", "-v", "-c", file)
		p.stderr.await(t, "listening for connections")
		visits, stop := visitors(t, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		pid := p.cmd.Process.Pid
		for i, host := range []string{"", "127.0.0.1", "0.0.0.0", "::", "127.0.0.1", "::", "0.0.0.0", "127.0.0.1"} {
			say(host)
			send(t, pid, syscall.SIGUSR2)
			line := p.stderr.awaitNth(t, "another process has taken over", i+1)
			var err error
			if pid, err = strconv.Atoi(logField(t, line, "pid")); err != nil {
				t.Fatal(err)
			}
			before := visits.Load()
			eventually(t, "clients to be served by the new process", func() bool { return visits.Load() > before+20 || t.Failed() })
			if t.Failed() {
				t.Fatalf("at upgrade %d, to %q", i, host)
			}
		}
		stop()
		send(t, pid, syscall.SIGTERM)
		p.wantExit(t, 0)
	})
}

// A listening socket that weir was given can be taken out by a reload and put back, though systemd keeps its own copy
// open; and so can one that no frontend wanted at first.
func TestInheritedSocketIsPutBack(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		_, echo := echoServer(t, "127.0.0.1:0", "")
		held := listen(t, "127.0.0.1:0").(*net.TCPListener)
		socket, err := held.File()
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
		path := filepath.Join(shortTempDir(t), "front.sock")
		of := func(addresses ...string) string {
			return read(t, configure(t, fmt.Sprintf("name = \"f\"\nengine = %q\nbind_on = [\"%s\"]\nhealth = { kind = \"none\" }", engine, strings.Join(addresses, `", "`)), echo))
		}
		file := configure(t, "")
		write(t, file, of("127.0.0.1:0", held.Addr().String()))
		cmd := exec.Command("sh", "-c", "export LISTEN_PID=$$ && exec \"$0\" run -v -c \"$1\"", binary, file)
		cmd.ExtraFiles = []*os.File{socket, unixSocket(t, path)}
		cmd.Env = append(os.Environ(), "LISTEN_FDS=2")
		p := startCommand(t, cmd)
		if line := p.stderr.await(t, "are kept for a reload"); !strings.Contains(line, path) {
			t.Errorf("%s does not name %s", line, path)
		}
		p.stderr.awaitNth(t, "listening for connections", 2)
		pid := p.cmd.Process.Pid
		for i, addresses := range [][]string{{"unix:" + path}, {held.Addr().String()}, {}, {held.Addr().String(), "unix:" + path}} {
			write(t, file, of(append(addresses, "127.0.0.1:0")...))
			send(t, pid, syscall.SIGHUP)
			p.stderr.awaitNth(t, "configuration reloaded", i+1)
			for _, a := range addresses {
				if got, err := talk(a, "again"); err != nil || got != "again" {
					t.Errorf("after reload %d %s gives %q and %v", i, a, got, err)
				}
			}
			if i != 2 {
				continue
			}
			send(t, pid, syscall.SIGUSR2) // what is kept goes on to the next process
			if pid, err = strconv.Atoi(logField(t, p.stderr.await(t, "another process has taken over"), "pid")); err != nil {
				t.Fatal(err)
			}
		}
		send(t, pid, syscall.SIGTERM)
		p.wantExit(t, 0)
	})
}

// Whoever has opened a unix socket at the same path since keeps it, when weir stops and when an upgrade has gone by.
func TestPathOfAnotherIsKept(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		for _, upgrade := range []bool{false, true} {
			_, echo := echoServer(t, "127.0.0.1:0", "")
			path := filepath.Join(shortTempDir(t), "front.sock")
			p := start(t, ".", "run", "-v", "-c", configure(t, fmt.Sprintf("engine = %q\nbind_on = [\"127.0.0.1:0\", \"unix:%s\"]\nhealth = { kind = \"none\" }", engine, path), echo))
			p.stderr.awaitNth(t, "listening for connections", 2)
			pid := p.cmd.Process.Pid
			if upgrade {
				send(t, pid, syscall.SIGUSR2)
				var err error
				if pid, err = strconv.Atoi(logField(t, p.stderr.await(t, "another process has taken over"), "pid")); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			other, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			send(t, pid, syscall.SIGTERM)
			p.wantExit(t, 0)
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("upgrade %v: %v", upgrade, err)
			}
		}
	})
}
