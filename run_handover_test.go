//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/balancer/admin"
)

// server is a backend that knows at each moment how many connections it has, as the kernel does: when one comes, it
// first looks which others have ended.
type server struct {
	net.Listener
	mu    sync.Mutex
	live  []*net.TCPConn
	worst int
	total int
}

// countingServer says hello to everybody who comes, and echoes what they say.
func countingServer(t *testing.T) *server {
	s := &server{Listener: listen(t, "127.0.0.1:0")}
	go func() {
		for {
			c, err := s.Accept()
			if err != nil {
				return
			}
			s.enter(c.(*net.TCPConn))
			go func() {
				defer c.Close()
				io.WriteString(c, "hello\n")
				io.Copy(c, c)
			}()
		}
	}()
	return s
}

func (s *server) enter(c *net.TCPConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total++
	s.live = append(s.settled(), c)
	s.worst = max(s.worst, len(s.live))
}

// settled returns those that have not ended.
func (s *server) settled() (live []*net.TCPConn) {
	for _, c := range s.live {
		if !ended(c) {
			live = append(live, c)
		}
	}
	return live
}

// ended says whether the other side has closed the connection, whether or not anybody has read that.
func ended(c *net.TCPConn) (is bool) {
	rc, err := c.SyscallConn()
	if err != nil {
		return true
	}
	if rc.Control(func(fd uintptr) {
		n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		is = err == nil && n == 0 || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	}) != nil {
		return true
	}
	return is
}

func (s *server) count() (live, worst int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = s.settled()
	return len(s.live), s.worst
}

// newcomer is a client of weir.
type newcomer struct {
	net.Conn
	name   string
	served chan struct{} // closed when the backend has said hello
	failed chan error    // has one when it never will
}

func comes(t *testing.T, address, name string) *newcomer {
	t.Helper()
	g := &newcomer{Conn: dial(t, address), name: name, served: make(chan struct{}), failed: make(chan error, 1)}
	go func() {
		if line, err := bufio.NewReader(g).ReadString('\n'); err != nil || line != "hello\n" {
			g.failed <- fmt.Errorf("client %s got %q and %v", name, line, err)
			return
		}
		close(g.served)
	}()
	return g
}

// tries is comes for a client that may be refused.
func tries(t *testing.T, address string) (g *newcomer, ok bool) {
	t.Helper()
	c, err := (&net.Dialer{Timeout: patience}).Dial("tcp", address)
	if err != nil {
		return nil, false
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	line := make([]byte, 6)
	_, err = io.ReadFull(c, line)
	return &newcomer{Conn: c}, err == nil
}

func (g *newcomer) isServed() bool {
	select {
	case <-g.served:
		return true
	default:
		return false
	}
}

func (g *newcomer) wantServed(t *testing.T) {
	t.Helper()
	select {
	case <-g.served:
	case err := <-g.failed:
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatalf("client %s is not served", g.name)
	}
}

// served returns the names of those that are served.
func served(newcomers []*newcomer) (names string) {
	for _, g := range newcomers {
		if g.isServed() {
			names += g.name
		}
	}
	return names
}

// line is a weir and those that come after it.
type lineage struct {
	t       *testing.T
	first   *process
	pids    []int // the newest is the last
	door    string
	file    string
	address string
}

// found starts a weir in front of that backend. frontend and rest are lines of its file, in the table of the frontend and
// behind it; top stands before.
func found(t *testing.T, engine string, s *server, top, frontend, rest string) *lineage {
	t.Helper()
	dir := shortTempDir(t)
	l := &lineage{t: t, door: filepath.Join(dir, "admin.sock"), file: filepath.Join(dir, "weir.toml")}
	write(t, l.file, fmt.Sprintf("%s\n[admin]\nbind_on = %q\n[[frontend]]\nname = \"web\"\nengine = %q\nbind_on = \"127.0.0.1:0\"\n"+
		"health = { kind = \"none\" }\n%s\n[[frontend.backend]]\nname = \"one\"\nforward_to = %q\n%s\n",
		top, "unix:"+l.door, engine, frontend, s.Addr().String(), rest))
	l.first = start(t, ".", "run", "-v", "-c", l.file)
	l.address = logField(t, l.first.stderr.await(t, "listening for connections"), "bind_on")
	l.pids = []int{l.first.cmd.Process.Pid}
	return l
}

func (l *lineage) newest() int { return l.pids[len(l.pids)-1] }

// upgrade has the newest start one that is newer.
func (l *lineage) upgrade() {
	l.t.Helper()
	was := strings.Count(l.first.stderr.String(), "another process has taken over")
	send(l.t, l.newest(), syscall.SIGUSR2)
	text := l.first.stderr.awaitNth(l.t, "another process has taken over", was+1)
	pid, err := strconv.Atoi(logField(l.t, text, "pid"))
	if err != nil {
		l.t.Fatal(err)
	}
	l.pids = append(l.pids, pid)
	eventually(l.t, "the new process to open the door", func() bool { return l.status().PID == pid })
}

// kill ends one of them as the kernel would.
func (l *lineage) kill(i int) {
	l.t.Helper()
	send(l.t, l.pids[i], syscall.SIGKILL)
}

func (l *lineage) status() (s admin.Status) {
	json.Unmarshal([]byte(status(l.t, l.door)), &s)
	return s
}

// waiting waits until so many clients wait in the queue of the newest.
func (l *lineage) waiting(n int) {
	l.t.Helper()
	eventually(l.t, fmt.Sprintf("%d clients to wait", n), func() bool {
		s := l.status()
		return len(s.Frontends) == 1 && s.Frontends[0].Pool.Queue.Length == n
	})
}

// everyPlace is where a limit of 2 can stand.
var everyPlace = []struct {
	name, top, frontend, rest string
	queues                    bool // clients wait in the queue, which is served in order
}{
	{"backend", "", "queue = { size = 100, timeout = \"1h\" }", "max_connections = 2", true},
	{"pool", "", "max_connections = 2\nqueue = { size = 100, timeout = \"1h\" }", "", true},
	{"class", "", "queue = { size = 100, timeout = \"1h\" }", "[[frontend.class]]\nname = \"all\"\nmatch = \"0.0.0.0/0\"\nmax_connections = 2\n", true},
	{"frontend", "", "max_sessions = 2", "", false},
	{"process", "max_sessions = 2", "", "", false},
}

func everyLimit(t *testing.T, run func(t *testing.T, l *lineage, s *server, queues bool)) {
	for _, limit := range everyPlace {
		t.Run(limit.name, func(t *testing.T) {
			engines(t, func(t *testing.T, engine string) {
				s := countingServer(t)
				l := found(t, engine, s, limit.top, limit.frontend, limit.rest)
				run(t, l, s, limit.queues)
				if live, worst := s.count(); worst != 2 {
					t.Errorf("the backend had %d connections at one time (and %d now), and the limit is 2", worst, live)
				}
			})
		})
	}
}

// oneMore frees a slot, and waits until one more of the newcomers is served: the next one, if they wait in a queue.
func oneMore(t *testing.T, newcomers []*newcomer, queues bool, free func()) {
	t.Helper()
	before := served(newcomers)
	free()
	eventually(t, "one more to be served", func() bool { return len(served(newcomers)) > len(before) })
	if now := served(newcomers); queues && now != before+newcomers[len(before)].name {
		t.Fatalf("%s are served, and before %s: that is not their order", now, before)
	}
}

// A limit holds for a process and those that take its place together: what the old ones hold is counted, what they
// free is used, and when they die all of it comes free.
func TestB60LimitHoldsAcrossUpgrades(t *testing.T) {
	everyLimit(t, func(t *testing.T, l *lineage, s *server, queues bool) {
		var newcomers []*newcomer
		come := func(names string) {
			for _, name := range names {
				newcomers = append(newcomers, comes(t, l.address, string(name)))
				if queues {
					if n := len(newcomers) - len(served(newcomers)); len(newcomers) > 2 {
						l.waiting(n)
						continue
					}
				}
				if len(newcomers) <= 2 {
					newcomers[len(newcomers)-1].wantServed(t)
				}
			}
		}
		come("ab")
		l.upgrade()
		come("cde")
		l.upgrade()
		if queues {
			l.waiting(3)
		}
		come("fgh")
		if got := served(newcomers); got != "ab" {
			t.Fatalf("%s are served, and the limit is 2", got)
		}
		oneMore(t, newcomers, queues, func() { newcomers[0].Close() }) // in the oldest process
		oneMore(t, newcomers, queues, func() { l.kill(0) })            // it has b
		if live, _ := s.count(); live != 2 {
			t.Errorf("the backend has %d connections", live)
		}
		for len(served(newcomers)) < len(newcomers) { // whoever is served leaves, wherever that is
			oneMore(t, newcomers, false, func() {
				for _, g := range newcomers {
					if g.isServed() {
						g.Close()
					}
				}
			})
		}
	})
}

// Whoever waits in an old process comes before whoever waits in a new one; and when a process between them dies, its
// slots come free, and those of the one before it stay counted.
func TestB60MiddleProcessDies(t *testing.T) {
	everyLimit(t, func(t *testing.T, l *lineage, s *server, queues bool) {
		var newcomers []*newcomer
		come := func(name string) {
			newcomers = append(newcomers, comes(t, l.address, name))
			if queues && len(newcomers) > 2 {
				l.waiting(1)
			}
		}
		come("a")
		come("b")
		newcomers[0].wantServed(t)
		newcomers[1].wantServed(t)
		come("c")
		l.upgrade()
		oneMore(t, newcomers, queues, func() { newcomers[0].Close() }) // c, in the oldest process
		come("d")
		oneMore(t, newcomers, queues, func() { newcomers[1].Close() })
		come("e")
		middle := l.newest()
		l.upgrade()
		newcomers = append(newcomers, comes(t, l.address, "f"))
		if queues {
			l.waiting(2)
		}
		rest := newcomers
		if queues {
			rest = slices.Delete(slices.Clone(newcomers), 4, 5)
		}
		oneMore(t, rest, queues, func() { send(t, middle, syscall.SIGKILL) })
		if queues { // e was there, and waited
			select {
			case <-newcomers[4].failed:
			case <-time.After(patience):
				t.Fatal("a client outlives the process that it waits in")
			}
			newcomers = slices.Delete(newcomers, 4, 5)
		}
		l.upgrade()
		newcomers = append(newcomers, comes(t, l.address, "g"))
		if queues {
			l.waiting(1)
		}
		oneMore(t, newcomers, queues, func() {
			for i, g := range newcomers { // c, and else whoever is served
				if i == 2 || !queues && g.isServed() {
					g.Close()
				}
			}
		})
	})
}

// When the newest process dies, those before it hold their everyPlace together again, and serve whoever waits in them.
func TestB60NewestProcessDies(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		s := countingServer(t)
		l := found(t, engine, s, "", "queue = { size = 100, timeout = \"1h\" }", "max_connections = 2")
		a, b := comes(t, l.address, "a"), comes(t, l.address, "b")
		a.wantServed(t)
		b.wantServed(t)
		c := comes(t, l.address, "c")
		l.waiting(1)
		l.upgrade()
		d := comes(t, l.address, "d")
		l.waiting(2)
		l.upgrade()
		l.kill(2)
		a.Close()
		c.wantServed(t)
		b.Close()
		d.wantServed(t)
		if _, worst := s.count(); worst != 2 {
			t.Errorf("the backend had %d connections at one time", worst)
		}
	})
}

// A client's sessions in an old process count against what it may have.
func TestB60ClientAcrossUpgrades(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		s := countingServer(t)
		l := found(t, engine, s, "", "client = { max_sessions = 2 }", "")
		a, b := comes(t, l.address, "a"), comes(t, l.address, "b")
		a.wantServed(t)
		b.wantServed(t)
		for range 2 {
			l.upgrade()
			for range 3 {
				if _, ok := tries(t, l.address); ok {
					t.Fatal("a third session is served")
				}
			}
		}
		another := func() bool {
			_, ok := tries(t, l.address)
			return ok
		}
		a.Close()
		eventually(t, "the client to have one more", another)
		l.kill(0)
		eventually(t, "the client to have one more", another)
		if another() {
			t.Error("the client has three sessions")
		}
		if _, worst := s.count(); worst != 2 {
			t.Errorf("the backend had %d connections at one time", worst)
		}
	})
}

// children are the processes that a process has started.
func children(pid int) (list []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range tasks {
		text, _ := os.ReadFile(file)
		for word := range bytes.FieldsSeq(text) {
			if n, err := strconv.Atoi(string(word)); err == nil {
				list = append(list, n)
			}
		}
	}
	return list
}

// said is how often a text stands in the log of the lineage.
func (l *lineage) said(text string) int { return strings.Count(l.first.stderr.String(), text) }

// killChild kills the process that another one starts, that long after it is there.
func killChild(parent int, patient time.Time, after time.Duration) int {
	var at time.Time
	for time.Now().Before(patient) {
		child := children(parent)
		switch {
		case len(child) == 0:
		case at.IsZero():
			at = time.Now().Add(after)
		case time.Now().After(at):
			syscall.Kill(child[0], syscall.SIGKILL)
			return child[0]
		}
	}
	return 0
}

// A successor that is killed at any moment leaves the old process serving by its own rules: those who wait are served,
// nobody is refused, and no limit is passed. Then the next upgrade succeeds.
func TestB60UpgradeThatIsKilled(t *testing.T) {
	for _, before := range []int{0, 1} { // processes before the one that fails to hand over
		t.Run(fmt.Sprint(before), func(t *testing.T) {
			engines(t, func(t *testing.T, engine string) { upgradeThatIsKilled(t, engine, before) })
		})
	}
}

func upgradeThatIsKilled(t *testing.T, engine string, before int) {
	r := rand.New(rand.NewPCG(uint64(before), 7))
	for failed := 0; failed < 15; {
		n := killUpgrades(t, engine, before, r)
		if failed += n; t.Failed() {
			return
		}
	}
}

// killUpgrades kills successors until one was too fast, and returns how many were not.
func killUpgrades(t *testing.T, engine string, before int, r *rand.Rand) (failed int) {
	s := countingServer(t)
	l := found(t, engine, s, "", "queue = { size = 100, timeout = \"1h\" }", "max_connections = 2")
	comes(t, l.address, "held").wantServed(t)
	for range before {
		l.upgrade()
	}
	c := newThrong(t, l.address, 6)
	defer c.stop()
	for ; failed < 15; failed++ {
		over, fails := l.said("another process has taken over"), l.said("cannot upgrade: nothing has changed")
		send(t, l.newest(), syscall.SIGUSR2)
		killChild(l.newest(), time.Now().Add(patience), time.Duration(r.Int64N(int64(12*time.Millisecond))))
		eventually(t, "the upgrade to end", func() bool {
			return l.said("another process has taken over") > over || l.said("cannot upgrade: nothing has changed") > fails
		})
		if l.said("another process has taken over") > over {
			break
		}
		was := c.visits.Load()
		eventually(t, "clients to be served", func() bool { return c.visits.Load() > was+20 })
		if err := c.err.Load(); err != nil {
			t.Errorf("after a failed upgrade: %v", *err)
			break
		}
	}
	if _, worst := s.count(); worst > 2 {
		t.Errorf("the backend had %d connections at one time", worst)
	}
	return failed
}

// throng is clients that come without a pause.
type throng struct {
	visits atomic.Int64
	err    atomic.Pointer[error] // of a client that was not served
	over   atomic.Bool
	all    sync.WaitGroup
}

func newThrong(t *testing.T, address string, n int) *throng {
	c := new(throng)
	for range n {
		c.all.Go(func() {
			for !c.over.Load() {
				if g, ok := tries(t, address); !ok {
					err := errors.New("a client was not served")
					c.err.CompareAndSwap(nil, &err)
				} else {
					g.Close()
					c.visits.Add(1)
				}
			}
		})
	}
	return c
}

func (c *throng) stop() {
	c.over.Store(true)
	c.all.Wait()
}

// An old process that stands still keeps nobody: the next upgrade fails in a bounded time and says why, and succeeds when
// it goes on.
func TestB60OldProcessStandsStill(t *testing.T) {
	s := countingServer(t)
	l := found(t, "reactor", s, "", "queue = { size = 100, timeout = \"1h\" }", "max_connections = 2")
	a, b := comes(t, l.address, "a"), comes(t, l.address, "b")
	a.wantServed(t)
	b.wantServed(t)
	l.upgrade()
	c := comes(t, l.address, "c")
	l.waiting(1)
	send(t, l.pids[0], syscall.SIGSTOP)
	send(t, l.newest(), syscall.SIGUSR2)
	l.first.stderr.await(t, "has not told within")
	l.first.stderr.await(t, "cannot upgrade: nothing has changed")
	l.waiting(1)
	send(t, l.pids[0], syscall.SIGCONT)
	l.upgrade()
	l.waiting(1)
	a.Close()
	c.wantServed(t)
	if _, worst := s.count(); worst != 2 {
		t.Errorf("the backend had %d connections at one time", worst)
	}
}
