//go:build linux

package balancer_test

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/frontend"
)

// sorter is a backend whose clients say in one byte of which kind they are. It keeps each until it is told
// to let one go.
type sorter struct {
	*server
	mu   sync.Mutex
	kept []guest // in the order they spoke
	peak int     // most of them at one time
}

type guest struct {
	kind byte
	net.Conn
}

func newSorter(t *testing.T) *sorter {
	t.Helper()
	s := &sorter{server: newServer(t)}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := s.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { s.keep(c) })
		}
	})
	t.Cleanup(func() { s.Close(); serving.Wait() })
	return s
}

func (s *sorter) keep(c net.Conn) {
	defer c.Close()
	kind := make([]byte, 1)
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c, kind); err != nil {
		return
	}
	s.mu.Lock()
	s.kept = append(s.kept, guest{kind[0], c})
	s.peak = max(s.peak, len(s.kept))
	s.mu.Unlock()
	io.Copy(io.Discard, c)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = slices.DeleteFunc(s.kept, func(g guest) bool { return g.Conn == c })
}

// letGo ends the session that it has longest, of those kinds.
func (s *sorter) letGo(kinds string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.kept, func(g guest) bool { return strings.IndexByte(kinds, g.kind) >= 0 })
	if i < 0 {
		s.t.Fatalf("there is none of %q to let go", kinds)
	}
	g := s.kept[i]
	s.kept = slices.Delete(s.kept, i, i+1) // before weir can send the next
	g.Close()
}

// shares says how many of each kind there are: "a5 b10".
func (s *sorter) shares() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var n [256]int
	for _, g := range s.kept {
		n[g.kind]++
	}
	var shares []string
	for kind := range n {
		if n[kind] > 0 {
			shares = append(shares, fmt.Sprintf("%c%d", kind, n[kind]))
		}
	}
	return strings.Join(shares, " ")
}

// wantShares waits for these shares.
func (s *sorter) wantShares(want string) {
	s.t.Helper()
	defer func() {
		if s.t.Failed() {
			s.t.Logf("the shares are %s, want %s", s.shares(), want)
		}
	}()
	eventually(s.t, "the shares "+want, func() bool { return s.shares() == want })
}

func (s *sorter) wantPeak(want int) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.peak != want {
		s.t.Errorf("the backend had %d clients at one time, want %d", s.peak, want)
	}
}

// come connects n clients of a kind from that address to another, who stay until the backend lets them go.
func (w *weir) come(kind byte, n int, from, to string) (clients []*net.TCPConn) {
	w.t.Helper()
	var staying sync.WaitGroup
	w.t.Cleanup(staying.Wait)
	for range n {
		c := dialFrom(w.t, from, to)
		clients = append(clients, c)
		send(w.t, c, string(rune(kind)))
		staying.Go(func() { io.Copy(io.Discard, c); c.Close() })
	}
	return clients
}

// dialFrom connects from an address of this host.
func dialFrom(t *testing.T, ip, to string) *net.TCPConn {
	t.Helper()
	d := quickDialer(patience)
	d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(ip)}
	c, err := d.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	return patient(t, c).(*net.TCPConn)
}

// class is a [[frontend.class]] table.
func class(name, match string, keys ...string) string {
	return fmt.Sprintf("[[frontend.class]]\nname = %q\nmatch = %q\n%s\n", name, match, strings.Join(keys, "\n"))
}

// Three classes want all they can get, and one of them came first: the shares settle at what the weights
// say, to the session, stay there, and are shared out anew when one of them wants no more.
func TestB27Shares(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const capacity = 20
		s := newSorter(t)
		w := startWeir(t, engine, "", to(s.addr(), fmt.Sprintf("max_connections = %d", capacity))+queueTable(1000)+noProbes+
			class("a", "127.0.0.11")+class("b", "127.0.0.12")+class("c", "127.0.0.13", "weight = 2"))
		w.come('a', capacity, "127.0.0.11", w.addr)
		s.wantShares("a20")
		w.come('a', 35, "127.0.0.11", w.addr)
		w.come('b', 40, "127.0.0.12", w.addr)
		all := w.come('c', 50, "127.0.0.13", w.addr)
		w.wantQueued(35 + 40 + 50)
		for gone := range 15 { // a slot that a class has too many goes to the others
			if a, _ := w.active("a"); a != capacity-gone {
				t.Fatalf("class a has %d sessions after %d have ended, want %d", a, gone, capacity-gone)
			}
			s.letGo("a")
			w.wantQueued(35 + 40 + 50 - gone - 1)
		}
		s.wantShares("a5 b5 c10")
		for range 40 { // in the order they came, that is of all kinds
			s.letGo("abc")
			s.wantShares("a5 b5 c10")
		}
		for _, c := range all {
			reset(c)
		}
		s.wantShares("a10 b10")
		for range 5 {
			s.letGo("ab")
			s.wantShares("a10 b10")
		}
	})
}

// active returns what the pool knows of a class.
func (w *weir) active(class string) (active, queued int) {
	w.t.Helper()
	for _, c := range w.b.Pool("f").QueueSnapshot().Classes {
		if c.Name == class {
			return c.Active, c.Queued
		}
	}
	w.t.Fatalf("there is no class %s", class)
	return 0, 0
}

// A class whose sessions never end keeps what it has, and gets no more above its share while others wait.
func TestB27Stuck(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := newSorter(t)
		w := startWeir(t, engine, "", to(s.addr(), "max_connections = 10")+queueTable(1000)+noProbes+class("stuck", "127.0.0.11"))
		w.come('s', 8, "127.0.0.11", w.addr)
		s.wantShares("s8")
		w.come('s', 30, "127.0.0.11", w.addr) // 2 of them are served
		s.wantShares("s10")
		w.come('o', 60, "127.0.0.1", w.addr)
		w.wantQueued(28 + 60)
		s.letGo("s")
		s.wantShares("o1 s9")
		for range 30 { // the stuck class has more than its share: none of this is for it
			s.letGo("o")
			s.wantShares("o1 s9")
		}
		for range 4 {
			s.letGo("s")
		}
		s.wantShares("o5 s5")
		for range 20 { // nor is this: it has exactly its share
			s.letGo("o")
			s.wantShares("o5 s5")
		}
		s.wantPeak(10)
	})
}

// What a class may have at most is left free for the others, even while nobody else is there.
func TestB27ClassLimit(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := newSorter(t)
		w := startWeir(t, engine, "", to(s.addr(), "max_connections = 4")+queueTable(100)+noProbes+
			class("slow", "127.0.0.11", "max_connections = 3", "max_queued = 5"))
		w.come('s', 8, "127.0.0.11", w.addr)
		w.wantQueued(5)
		s.wantShares("s3")
		expectEnd(t, dialFrom(t, "127.0.0.11", w.addr)) // no room in its part of the queue
		w.wantEnd(frontend.QueueFull, "PQ")
		for range 50 {
			w.come('o', 1, "127.0.0.1", w.addr)
			s.wantShares("o1 s3")
			s.letGo("o")
			if line := w.wantEnd(frontend.Normal, "--"); line.Backend == "" {
				t.Error("nobody served the client")
			}
		}
		s.letGo("s")
		s.wantShares("s3")
		w.wantQueued(4)
		s.wantPeak(4)
	})
}

// Without a queue, who is above the limit of its class is turned away.
func TestB27ClassLimitWithoutQueue(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := newSorter(t)
		w := startWeir(t, engine, "", to(s.addr())+noProbes+class("slow", "127.0.0.11", "max_connections = 2"))
		w.come('s', 2, "127.0.0.11", w.addr)
		s.wantShares("s2")
		expectEnd(t, dialFrom(t, "127.0.0.11", w.addr))
		w.wantEnd(frontend.BackendsFull, "PQ")
		w.come('o', 3, "127.0.0.1", w.addr)
		s.wantShares("o3 s2")
	})
}

// A class may be those that come to one of the frontend's addresses, whatever their own.
func TestB27ClassByListener(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := newSorter(t)
		w := startWeir(t, engine, `bind_on = ["127.0.0.1:0", "127.0.0.2:0"]`,
			to(s.addr(), "max_connections = 4")+queueTable(100)+noProbes+
				class("second door", "127.0.0.2:0")+class("by address", "127.0.0.11"))
		second := w.b.Addrs("f")[1].String()
		w.come('f', 4, "127.0.0.1", w.addr)
		s.wantShares("f4")
		w.come('f', 10, "127.0.0.1", w.addr)
		w.come('s', 10, "127.0.0.11", second) // the door decides before the address does
		w.come('a', 10, "127.0.0.11", w.addr)
		w.wantQueued(30)
		for _, c := range []struct {
			class string
			want  [2]int
		}{{"second door", [2]int{0, 10}}, {"by address", [2]int{0, 10}}, {"default", [2]int{4, 10}}} {
			if active, queued := w.active(c.class); [2]int{active, queued} != c.want {
				t.Errorf("class %s: %d active and %d queued, want %v", c.class, active, queued, c.want)
			}
		}
		s.letGo("f")
		s.letGo("f")
		s.wantShares("a1 f2 s1")
	})
}

// Within a class each client address has its turn, if it is to be so.
func TestB27FairByClient(t *testing.T) {
	for _, c := range []struct{ fairBy, want string }{{"client", "x2 y1 z1"}, {"none", "x4"}} {
		t.Run(c.fairBy, func(t *testing.T) {
			everyEngine(t, func(t *testing.T, engine string) {
				s := newSorter(t)
				w := startWeir(t, engine, "", to(s.addr(), "max_connections = 4")+noProbes+
					queueTable(100, fmt.Sprintf("fair_by = %q", c.fairBy)))
				w.come('x', 4, "127.0.0.11", w.addr)
				s.wantShares("x4")
				w.come('x', 30, "127.0.0.11", w.addr)
				w.wantQueued(30)
				w.come('y', 1, "127.0.0.12", w.addr)
				w.come('z', 1, "127.0.0.13", w.addr)
				w.wantQueued(32)
				s.letGo("x")
				s.letGo("x")
				s.wantShares(c.want)
				for range 20 { // whose sessions end gets the next, for the others have theirs
					s.letGo("x")
					s.wantShares(c.want)
				}
				s.wantPeak(4)
			})
		})
	}
}
