//go:build linux

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// systemd finds nothing wrong with the units.
func TestSystemdUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("systemd-analyze is not installed")
		}
		t.Skip("SKIPPED: systemd-analyze is not installed")
	}
	dir := t.TempDir()
	files := []string{"verify", "--man=no"}
	for _, unit := range []string{"weir.service", "weir.socket"} {
		text := strings.ReplaceAll(read(t, filepath.Join("examples/systemd", unit)), "/usr/local/bin/weir", binary)
		write(t, filepath.Join(dir, unit), text)
		files = append(files, filepath.Join(dir, unit))
	}
	out, err := exec.Command(analyze, files...).CombinedOutput()
	if err != nil || strings.Contains(string(out), dir) {
		t.Errorf("%v: %s", err, out)
	}
}

// notified plays systemd for a weir that is started with it: it returns what weir notifies.
func notified(t *testing.T) (socket string, next func() string) {
	t.Helper()
	socket = filepath.Join(shortTempDir(t), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return socket, func() string {
		t.Helper()
		buf := make([]byte, 4096)
		c.SetReadDeadline(time.Now().Add(patience))
		n, err := c.Read(buf)
		if err != nil {
			t.Fatalf("weir did not notify: %v", err)
		}
		return string(buf[:n])
	}
}

// systemd is told when weir serves, reloads and stops, and that it is alive; and its sockets are used.
func TestSystemd(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		_, echo := echoServer(t, "127.0.0.1:0", "")
		held := listen(t, "127.0.0.1:0").(*net.TCPListener)
		socket, err := held.File()
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
		path := filepath.Join(shortTempDir(t), "front.sock")
		door := filepath.Join(filepath.Dir(path), "admin.sock")
		file := configure(t, fmt.Sprintf("engine = %q\nbind_on = [%q, \"unix:%s\"]\nhealth = { kind = \"none\" }", engine, held.Addr(), path), echo)
		write(t, file, read(t, file)+fmt.Sprintf("[admin]\nbind_on = \"unix:%s\"\n", door))
		notify, next := notified(t)
		// The shell makes LISTEN_PID what systemd would.
		cmd := exec.Command("sh", "-c", "export LISTEN_PID=$$ && exec \"$0\" run -v -c \"$1\"", binary, file)
		cmd.ExtraFiles = []*os.File{socket, unixSocket(t, path), unixSocket(t, door)}
		cmd.Env = append(os.Environ(), "LISTEN_FDS=3", "NOTIFY_SOCKET="+notify, "WATCHDOG_USEC=200000")
		p := startCommand(t, cmd)
		if got := next(); !strings.HasPrefix(got, "READY=1\nMAINPID=") {
			t.Errorf("first notified %q", got)
		}
		held.Close() // weir's copy goes on
		if got, err := talk(held.Addr().String(), "through systemd's socket"); err != nil || got != "through systemd's socket" {
			t.Errorf("got %q and %v", got, err)
		}
		if got := next(); got != "WATCHDOG=1" {
			t.Errorf("then notified %q, want that it is alive", got)
		}
		p.signal(syscall.SIGHUP)
		for got := next(); !strings.HasPrefix(got, "RELOADING=1\nMONOTONIC_USEC="); got = next() {
			if got != "WATCHDOG=1" {
				t.Fatalf("notified %q, want a reload", got)
			}
		}
		p.stderr.await(t, "configuration reloaded")
		p.signal(os.Interrupt)
		for got := next(); got != "STOPPING=1"; got = next() {
			if got != "WATCHDOG=1" && got != "READY=1" {
				t.Fatalf("notified %q, want that it stops", got)
			}
		}
		p.wantExit(t, 0)
		for _, path := range []string{path, door} {
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("%v, but it is systemd's, which listens there for the next start", err)
			}
		}
	})
}

// unixSocket returns a socket that listens on a path, as systemd makes them.
func unixSocket(t *testing.T, path string) *os.File {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
