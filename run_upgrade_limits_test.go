//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
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

// queued is the queue of those that wait for a backend.
const queued = "queue = { size = 100, timeout = \"1m\" }\n"

func newDynasty(t *testing.T, engine, keys, rest, top string) *dynasty {
	d := &dynasty{t: t, door: filepath.Join(shortTempDir(t), "admin.sock")}
	d.file = configure(t, fmt.Sprintf("engine = %q\nbind_on = \"127.0.0.1:0\"\nhealth = { kind = \"none\" }\n%s", engine, keys))
	write(t, d.file, top+read(t, d.file)+rest+fmt.Sprintf("[admin]\nbind_on = \"unix:%s\"\n", d.door))
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
		d := newDynasty(t, engine, queued, fmt.Sprintf("[[frontend.backend]]\nforward_to = %q\nmax_connections = 2\n", m.Addr()), "")
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
		d := newDynasty(t, engine, queued, fmt.Sprintf("[[frontend.backend]]\nforward_to = %q\nmax_connections = 2\n", m.Addr()), "")
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

// limits are all that bound sessions: what the file says beside the backend, of which it says more.
var limits = map[string]struct{ top, keys, backend string }{
	"backend":  {keys: queued, backend: "max_connections = 3\n"},
	"pool":     {keys: queued + "max_connections = 3\n"},
	"class":    {keys: queued + "class = [{ name = \"all\", match = [\"127.0.0.0/8\"], max_connections = 3 }]\n"},
	"frontend": {keys: "max_sessions = 3\n"},
	"process":  {top: "max_sessions = 3\n"},
}

// Clients come and go all the time, some stay over an upgrade, and an old process is killed: no limit is ever passed,
// and everybody is served.
func TestB60EveryLimitUnderLoad(t *testing.T) {
	for name, l := range limits {
		t.Run(name, func(t *testing.T) {
			engines(t, func(t *testing.T, engine string) {
				m := newMeter(t)
				d := newDynasty(t, engine, l.keys, fmt.Sprintf("[[frontend.backend]]\nforward_to = %q\n%s", m.Addr(), l.backend), l.top)
				w := &crowd{t: t, address: d.address, next: make(chan struct{})}
				w.begin()
				for i := range 6 {
					before, began := w.served.Load(), time.Now()
					d.upgrade()
					t.Logf("upgrade %d took %v", i, time.Since(began))
					w.upgraded()
					eventually(t, "clients to be served", func() bool { return w.served.Load() > before+20 })
					t.Logf("upgrade %d: served after %v", i, time.Since(began))
					if i == 3 {
						w.mayFail.Store(true)
						_ = syscall.Kill(d.pids[i], syscall.SIGKILL) // unless it has ended
					}
				}
				w.end()
				m.wantMost(t, 3)
				send(t, d.newest(), syscall.SIGTERM)
				t.Logf("%d served, %d failed", w.served.Load(), w.failed.Load())
			})
		})
	}
}

// crowd is clients that come and go.
type crowd struct {
	t              *testing.T
	address        string
	served, failed atomic.Int64
	mayFail, over  atomic.Bool
	all            sync.WaitGroup

	mu   sync.Mutex
	next chan struct{} // closed by the next upgrade
}

func (w *crowd) begin() {
	for i := range 10 {
		w.all.Go(func() {
			for !w.over.Load() {
				if err := w.visit(i < 2); err == nil {
					w.served.Add(1)
				} else if w.failed.Add(1); !w.mayFail.Load() {
					w.t.Errorf("a client is not served: %v", err)
					return
				}
			}
		})
	}
}

func (w *crowd) upgraded() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.next)
	w.next = make(chan struct{})
}

func (w *crowd) end() {
	w.over.Store(true)
	w.upgraded()
	w.all.Wait()
}

func (w *crowd) visit(stays bool) error {
	c, err := net.Dial("tcp", w.address)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err = bufio.NewReader(c).ReadString('\n'); err != nil || !stays {
		return err
	}
	w.mu.Lock()
	next, over := w.next, w.over.Load()
	w.mu.Unlock()
	if !over {
		<-next
	}
	return nil
}

// stay is served, and stays until the test ends; or it is not let in.
func stay(t *testing.T, address string) (served bool) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err == nil {
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
		_, err = bufio.NewReader(c).ReadString('\n')
	}
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	return err == nil
}

// A client has no more sessions than it may in all processes together.
func TestB60UpgradeHoldsTheLimitOfAClient(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		m := newMeter(t)
		d := newDynasty(t, engine, "client = { max_sessions = 2 }\n", fmt.Sprintf("[[frontend.backend]]\nforward_to = %q\n", m.Addr()), "")
		one, two := arrive(t, d.address), arrive(t, d.address)
		one.wantServed(t, "the first")
		two.wantServed(t, "the second")
		for range 2 {
			d.upgrade()
			if stay(t, d.address) {
				t.Fatal("a third session of a client that may have two")
			}
		}
		one.Close()
		eventually(t, "the client to be let in again", func() bool { return stay(t, d.address) })
		if stay(t, d.address) {
			t.Fatal("a third session of a client that may have two")
		}
		send(t, d.pids[0], syscall.SIGKILL)
		eventually(t, "the client to be let in again", func() bool { return stay(t, d.address) })
		if stay(t, d.address) {
			t.Fatal("a third session of a client that may have two")
		}
		m.wantMost(t, 2)
		send(t, d.newest(), syscall.SIGTERM)
	})
}

// When the newest process dies the one before it counts again what the oldest has.
func TestB60TheNewestDies(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		m := newMeter(t)
		d := newDynasty(t, engine, queued, fmt.Sprintf("[[frontend.backend]]\nforward_to = %q\nmax_connections = 2\n", m.Addr()), "")
		first, second := arrive(t, d.address), arrive(t, d.address)
		first.wantServed(t, "the first")
		second.wantServed(t, "the second")
		d.upgrade()
		third := arrive(t, d.address)
		d.awaitQueued(1)
		fourth := arrive(t, d.address)
		d.awaitQueued(2)
		d.upgrade()
		d.awaitQueued(2)
		send(t, d.newest(), syscall.SIGKILL)
		first.Close()
		third.wantServed(t, "the third")
		fourth.wantWaits(t, "the fourth")
		third.Close()
		fourth.wantServed(t, "the fourth")
		m.wantMost(t, 2)
		second.Close()
		fourth.Close()
		d.wantExit(t, 0)
	})
}

// A weir that cannot count serves all the same: each process holds its limits by itself, and the log says so.
func TestB60SuccessorThatDoesNotCount(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		m := newMeter(t)
		program := filepath.Join(t.TempDir(), "weir")
		if err := os.Link(binary, program); err != nil {
			write(t, program, read(t, binary))
			if err := os.Chmod(program, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		file := configure(t, fmt.Sprintf("engine = %q\nbind_on = \"127.0.0.1:0\"\nhealth = { kind = \"none\" }\n%s", engine, queued))
		write(t, file, read(t, file)+fmt.Sprintf("[[frontend.backend]]\nforward_to = %q\nmax_connections = 1\n", m.Addr()))
		p := startCommand(t, exec.Command(program, "run", "-v", "-c", file))
		address := logField(t, p.stderr.await(t, "listening for connections"), "bind_on")
		first := arrive(t, address)
		first.wantServed(t, "the first")
		second := arrive(t, address)
		p.stderr.awaitNth(t, "serving connection", 2)
		if err := os.Remove(program); err != nil {
			t.Fatal(err)
		}
		write(t, program, fmt.Sprintf("#!/bin/sh\nunset WEIR_FORMER_FDS\nexec %q \"$@\"\n", binary))
		if err := os.Chmod(program, 0o700); err != nil {
			t.Fatal(err)
		}
		p.signal(syscall.SIGUSR2)
		pid, err := strconv.Atoi(logField(t, p.stderr.await(t, "the new process does not count the sessions of this one"), "pid"))
		if err != nil {
			t.Fatal(err)
		}
		third := arrive(t, address)
		third.wantServed(t, "the third, in a process that does not know of the first")
		second.wantWaits(t, "the second")
		first.Close()
		second.wantServed(t, "the second")
		second.Close()
		third.Close()
		send(t, pid, syscall.SIGTERM)
		p.wantExit(t, 0)
	})
}

// An old process that does not answer ends an upgrade within the time that it has, and changes nothing.
func TestB60OldProcessThatIsSilent(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		t.Parallel() // for it waits
		m := newMeter(t)
		d := newDynasty(t, engine, queued, fmt.Sprintf("[[frontend.backend]]\nforward_to = %q\nmax_connections = 2\n", m.Addr()), "")
		first := arrive(t, d.address)
		first.wantServed(t, "the first")
		d.upgrade()
		second := arrive(t, d.address)
		second.wantServed(t, "the second")
		send(t, d.pids[0], syscall.SIGSTOP)
		send(t, d.newest(), syscall.SIGUSR2)
		d.stderr.await(t, fmt.Sprintf("process %d has not told within", d.pids[0]))
		third := arrive(t, d.address)
		d.awaitQueued(1)
		third.wantWaits(t, "the third")
		send(t, d.pids[0], syscall.SIGCONT)
		first.Close()
		third.wantServed(t, "the third")
		d.stderr.await(t, "cannot upgrade: nothing has changed")
		m.wantMost(t, 2)
		send(t, d.newest(), syscall.SIGTERM)
		second.Close()
		third.Close()
		d.wantExit(t, 0)
	})
}
