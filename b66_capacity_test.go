//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// With few descriptors as many clients are served after a reload of the same file as before, and as many after an
// upgrade: the division of the descriptors goes by the same facts each time.
func TestB66Capacity(t *testing.T) {
	for _, at := range []struct{ descriptors, listeners int }{{256, 20}, {8192, 2000}} {
		t.Run(fmt.Sprint(at.listeners), func(t *testing.T) {
			engines(t, func(t *testing.T, engine string) { capacityStays(t, engine, at.descriptors, at.listeners) })
		})
	}
}

func capacityStays(t *testing.T, engine string, descriptors, listeners int) {
	_, echo := echoServer(t, "127.0.0.1:0", "")
	var addresses []string
	for i := range listeners {
		addresses = append(addresses, fmt.Sprintf("\"127.%d.%d.1:0\"", 1+i/250, 1+i%250))
	}
	file := configure(t, fmt.Sprintf("engine = %q\nbind_on = [%s]\nhealth = { kind = \"none\" }", engine, strings.Join(addresses, ", ")), echo)
	door := filepath.Join(shortTempDir(t), "admin.sock")
	write(t, file, read(t, file)+fmt.Sprintf("[admin]\nbind_on = %q\n", "unix:"+door))
	p := startCommand(t, exec.Command("sh", "-c", "ulimit -n \"$2\" && exec \"$0\" run -v -c \"$1\"", binary, file, strconv.Itoa(descriptors)))
	address := logField(t, p.stderr.await(t, "listening for connections"), "bind_on")
	p.stderr.awaitNth(t, "listening for connections", listeners)

	most := servedUntilFull(t, address, p)
	p.signal(syscall.SIGHUP)
	p.stderr.await(t, "configuration reloaded")
	wantServed(t, "after a reload", address, most)
	p.signal(syscall.SIGUSR2)
	pid, err := strconv.Atoi(logField(t, p.stderr.await(t, "another process has taken over"), "pid"))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the door to be that of the new process", func() bool { return strings.Contains(status(t, door), fmt.Sprintf(`"pid":%d`, pid)) })
	wantServed(t, "after an upgrade", address, most)
	send(t, pid, syscall.SIGTERM)
	p.wantExit(t, 0)
}

// mostClients is how many clients a test looks for at most.
const mostClients = 150

// servedUntilFull connects one client after the other until weir says that it has room for no more, and returns how
// many it has served at one time.
func servedUntilFull(t *testing.T, address string, p *process) (n int) {
	t.Helper()
	var all []net.Conn
	defer func() { closeAll(all) }()
	for n < mostClients {
		c := dial(t, address)
		all = append(all, c)
		served := make(chan error, 1)
		go func() { served <- askFor(c) }()
		full := false
		eventually(t, "a client to be served, or none to be", func() bool {
			select {
			case err := <-served:
				if err != nil {
					t.Fatal(err)
				}
				n++
				return true
			default:
				full = strings.Contains(p.stderr.String(), "no session is free")
				return full
			}
		})
		if full {
			break
		}
	}
	return n
}

// askFor has one byte sent back.
func askFor(c net.Conn) error {
	if _, err := io.WriteString(c, "x"); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

// wantServed checks that so many clients are served at one time.
func wantServed(t *testing.T, when, address string, want int) {
	t.Helper()
	var all []net.Conn
	defer func() { closeAll(all) }()
	for i := range want {
		c := dial(t, address)
		all = append(all, c)
		if err := askFor(c); err != nil {
			t.Fatalf("%s client %d of %d is not served: %v", when, i+1, want, err)
		}
	}
}

func closeAll(all []net.Conn) {
	for _, c := range all {
		c.Close()
	}
}
