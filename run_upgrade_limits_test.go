//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// meter is a backend that knows how many connections it has at one time: those of which neither side has ended.
type meter struct {
	net.Listener
	mu    sync.Mutex
	conns map[*net.TCPConn]bool
	most  int
}

func newMeter(t *testing.T) *meter {
	m := &meter{Listener: listen(t, "127.0.0.1:0"), conns: make(map[*net.TCPConn]bool)}
	go func() {
		for {
			c, err := m.Accept()
			if err != nil {
				return
			}
			m.take(c.(*net.TCPConn))
		}
	}()
	return m
}

func (m *meter) take(c *net.TCPConn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns[c] = true
	now := 0
	for c := range m.conns {
		if established(c) {
			now++
		}
	}
	m.most = max(m.most, now)
	go func() {
		io.WriteString(c, "served\n")
		io.Copy(io.Discard, c)
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.conns, c)
		c.Close()
	}()
}

func established(c *net.TCPConn) (is bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		is = err == nil && info.State == unix.BPF_TCP_ESTABLISHED
	})
	return is
}

func (m *meter) wantMost(t *testing.T, most int) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.most > most {
		t.Errorf("the backend has seen %d connections at once, the limit is %d", m.most, most)
	}
}

// guest is a client that is served at some time.
type guest struct {
	net.Conn
	served chan error
}

func arrive(t *testing.T, address string) *guest {
	t.Helper()
	g := &guest{dial(t, address), make(chan error, 1)}
	g.SetDeadline(time.Now().Add(patience))
	go func() {
		line, err := bufio.NewReader(g).ReadString('\n')
		if err == nil && line != "served\n" {
			err = fmt.Errorf("got %q", line)
		}
		g.served <- err
	}()
	return g
}

func (g *guest) wantServed(t *testing.T, who string) {
	t.Helper()
	if err := <-g.served; err != nil {
		t.Fatalf("%s is not served: %v", who, err)
	}
}

func (g *guest) wantWaits(t *testing.T, who string) {
	t.Helper()
	select {
	case err := <-g.served:
		t.Fatalf("%s does not wait: %v", who, err)
	default:
	}
}

// dynasty is a weir, and those that take its place.
type dynasty struct {
	*process
	t       *testing.T
	door    string
	address string
	file    string
	pids    []int
}

func newDynasty(t *testing.T, engine, keys, rest string) *dynasty {
	d := &dynasty{t: t, door: filepath.Join(shortTempDir(t), "admin.sock")}
	d.file = configure(t, fmt.Sprintf("engine = %q\nbind_on = \"127.0.0.1:0\"\nhealth = { kind = \"none\" }\nqueue = { size = 100, timeout = \"1m\" }\n%s", engine, keys))
	write(t, d.file, read(t, d.file)+rest+fmt.Sprintf("[admin]\nbind_on = \"unix:%s\"\n", d.door))
	d.process = start(t, ".", "run", "-v", "-c", d.file)
	d.address = logField(t, d.stderr.await(t, "listening for connections"), "bind_on")
	d.pids = []int{d.cmd.Process.Pid}
	return d
}

func (d *dynasty) newest() int { return d.pids[len(d.pids)-1] }

func (d *dynasty) upgrade() {
	d.t.Helper()
	send(d.t, d.newest(), syscall.SIGUSR2)
	pid, err := strconv.Atoi(logField(d.t, d.stderr.awaitNth(d.t, "another process has taken over", len(d.pids)), "pid"))
	if err != nil {
		d.t.Fatal(err)
	}
	d.pids = append(d.pids, pid)
	eventually(d.t, "the door to be that of the new process", func() bool { return strings.Contains(status(d.t, d.door), fmt.Sprintf(`"pid":%d`, pid)) })
}

// failToUpgrade is the nth time.
func (d *dynasty) failToUpgrade(n int) {
	d.t.Helper()
	good := read(d.t, d.file)
	write(d.t, d.file, "[frontend]\nbind_on = 7\n")
	send(d.t, d.newest(), syscall.SIGUSR2)
	d.stderr.awaitNth(d.t, "cannot upgrade: nothing has changed", n)
	write(d.t, d.file, good)
}

// awaitQueued waits until so many clients wait in the newest process.
func (d *dynasty) awaitQueued(n int) {
	d.t.Helper()
	o := &operator{t: d.t, door: d.door}
	eventually(d.t, fmt.Sprintf("%d clients to wait", n), func() bool { return o.status().Frontends[0].Pool.Queue.Length == n })
}

// The backend never sees more sessions than its limit, whatever process they are of; what the old ones free goes to
// those of any that wait, and so does what one leaves that is killed.
func TestB60UpgradeHoldsALimit(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		m := newMeter(t)
		d := newDynasty(t, engine, "", fmt.Sprintf("[[frontend.backend]]\nforward_to = %q\nmax_connections = 2\n", m.Addr()))
		var g []*guest
		come := func(n int) {
			for range n {
				g = append(g, arrive(t, d.address))
			}
		}
		come(2)
		g[0].wantServed(t, "the first")
		g[1].wantServed(t, "the second")
		d.upgrade()
		for i := range 3 { // one after the other, for the order is to be known
			come(1)
			d.awaitQueued(i + 1)
		}
		g[2].wantWaits(t, "the third")
		freed := time.Now()
		g[0].Close()
		g[2].wantServed(t, "the third, in the second process")
		t.Logf("a slot that the old process has freed is in use after %v", time.Since(freed))
		g[3].wantWaits(t, "the fourth")
		d.failToUpgrade(1)
		g[3].wantWaits(t, "the fourth, after an upgrade that has failed")
		d.upgrade()
		come(1)
		d.awaitQueued(3) // with the two of the process before
		g[3].wantWaits(t, "the fourth")
		send(t, d.pids[0], syscall.SIGKILL)
		g[3].wantServed(t, "the fourth, after the oldest process was killed")
		g[4].wantWaits(t, "the fifth")
		g[2].Close()
		g[4].wantServed(t, "the fifth, in the second process")
		g[5].wantWaits(t, "the sixth")
		g[3].Close()
		g[5].wantServed(t, "the sixth, in the third process")
		m.wantMost(t, 2)
		send(t, d.pids[2], syscall.SIGTERM)
		g[4].Close()
		g[5].Close()
	})
}

// One that is killed between two others leaves its slots, and those of the oldest stay counted.
func TestB60KilledBetween(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		m := newMeter(t)
		d := newDynasty(t, engine, "", fmt.Sprintf("[[frontend.backend]]\nforward_to = %q\nmax_connections = 2\n", m.Addr()))
		first := arrive(t, d.address)
		first.wantServed(t, "the first")
		d.upgrade()
		arrive(t, d.address).wantServed(t, "the second")
		d.upgrade()
		third := arrive(t, d.address)
		d.awaitQueued(1)
		fourth := arrive(t, d.address)
		d.awaitQueued(2)
		send(t, d.pids[1], syscall.SIGKILL)
		third.wantServed(t, "the third, after the second process was killed")
		fourth.wantWaits(t, "the fourth")
		d.failToUpgrade(1)
		fourth.wantWaits(t, "the fourth")
		first.Close()
		fourth.wantServed(t, "the fourth, after the first process has freed a slot")
		m.wantMost(t, 2)
		send(t, d.pids[2], syscall.SIGTERM)
		third.Close()
		fourth.Close()
		d.wantExit(t, 0)
	})
}
