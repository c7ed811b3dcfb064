//go:build linux

package balancer_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"weir/frontend"
)

// wantAdmitted checks that a client from that address gets to the backend, a gauge. It stays.
func (w *weir) wantAdmitted(ip string) *net.TCPConn {
	w.t.Helper()
	c := dialFrom(w.t, ip, w.addrFor(ip))
	send(w.t, c, "x")
	expect(w.t, c, "k")
	return c
}

// wantTurnedAway checks that a client from that address sees a reset, and what is told of it.
func (w *weir) wantTurnedAway(ip string, outcome frontend.Outcome) {
	w.t.Helper()
	if err := w.turnedAway(ip); !isReset(err) {
		w.t.Errorf("the client from %s got %v, want a reset", ip, err)
	}
	line := w.wantEnd(outcome, "PR")
	if from, _, err := net.SplitHostPort(line.Client); from != ip || err != nil || line.Tries != 0 || line.Backend != "" {
		w.t.Errorf("logged client %q with %d tries of %q, want %s with none", line.Client, line.Tries, line.Backend, ip)
	}
}

// turnedAway connects from that address, reads, and returns the error. A reset may come before connect has
// returned.
func (w *weir) turnedAway(ip string) error {
	d := quickDialer(patience)
	d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(ip)}
	c, err := d.Dial("tcp", w.addrFor(ip))
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = patient(w.t, c).Read(make([]byte, 1))
	return err
}

// addrFor is weir's address, for a client from that one.
func (w *weir) addrFor(ip string) string {
	host, port, _ := net.SplitHostPort(w.addr)
	if host == "::" {
		host = "127.0.0.1"
		if net.ParseIP(ip).To4() == nil {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port)
}

// wantCounted checks how often the frontend counts that outcome, once it is all over.
func (w *weir) wantCounted(outcome frontend.Outcome, want uint64) {
	w.t.Helper()
	c := w.b.Counters("f")
	eventually(w.t, "all sessions to end", func() bool { return c.Opened.Load() == c.Closed.Load() })
	if got := c.Of(outcome); got != want {
		w.t.Errorf("%d sessions counted as %q, want %d", got, outcome, want)
	}
}

// A listener of both families sees IPv4 clients as IPv4, whatever the socket says.
func TestAccess(t *testing.T) {
	list := func(t *testing.T, lines string) string {
		path := filepath.Join(t.TempDir(), "list")
		if err := os.WriteFile(path, []byte("# a list\n"+lines+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		name       string
		keys       func(t *testing.T) string
		allow, not []string
	}{
		{
			"deny", func(*testing.T) string { return `deny = "127.0.0.5"` },
			[]string{"127.0.0.6", "::1"}, []string{"127.0.0.5"},
		},
		{
			"deny in mapped form", func(*testing.T) string { return `deny = "::ffff:127.0.0.4/126"` },
			[]string{"127.0.0.8", "::1"}, []string{"127.0.0.4", "127.0.0.7"},
		},
		{
			"allow, and less of it", func(*testing.T) string { return "allow = \"127.0.0.0/8\"\ndeny = \"127.0.0.5\"" },
			[]string{"127.0.0.6"}, []string{"127.0.0.5", "::1"},
		},
		{
			"allow IPv6", func(*testing.T) string { return `allow = "::/0"` },
			[]string{"::1"}, []string{"127.0.0.6"},
		},
		{
			"deny, but for one", func(*testing.T) string { return "deny = [\"127.0.0.0/8\", \"::1\"]\nallow = \"127.0.0.5\"" },
			[]string{"127.0.0.5"}, []string{"127.0.0.6", "::1"},
		},
		{
			"a tie", func(*testing.T) string { return "deny = \"127.0.0.5\"\nallow = [\"127.0.0.5\", \"::1\"]" },
			[]string{"::1"}, []string{"127.0.0.5"},
		},
		{
			"files", func(t *testing.T) string {
				return fmt.Sprintf("allow_file = %q\ndeny_file = %q", list(t, "127.0.0.0/8\n::1 # and this"), list(t, "127.0.0.5"))
			},
			[]string{"127.0.0.6", "::1"}, []string{"127.0.0.5"},
		},
		{
			"a list and a file", func(t *testing.T) string {
				return fmt.Sprintf("deny = \"127.0.0.5\"\ndeny_file = %q", list(t, "127.0.0.6"))
			},
			[]string{"127.0.0.7"}, []string{"127.0.0.5", "127.0.0.6"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			everyEngine(t, func(t *testing.T, engine string) {
				g := newGauge(t)
				w := startWeir(t, engine, "bind_on = \"[::]:0\"\n"+c.keys(t), g.to(0)+noProbes)
				for _, ip := range c.not {
					w.wantTurnedAway(ip, frontend.Denied)
				}
				for _, ip := range c.allow {
					w.leave(w.wantAdmitted(ip))
				}
				w.wantCounted(frontend.Denied, uint64(len(c.not)))
				w.wantGranted(uint64(len(c.allow)))
			})
		})
	}
}

// A flood of clients that are not welcome is counted and told of, and takes nothing: no session begins, and
// the one that there may be is for whoever is welcome.
func TestDeniedFlood(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const clients = 2000
		g := newGauge(t)
		w := startWeir(t, engine, "max_sessions = 1\ndeny = \"127.0.0.5\"", g.to(0)+noProbes)
		var flood sync.WaitGroup
		for range 20 {
			flood.Go(func() {
				for range clients / 20 {
					if err := w.turnedAway("127.0.0.5"); !isReset(err) {
						t.Errorf("a client got %v, want a reset", err)
					}
				}
			})
		}
		for range 50 {
			c := w.wantAdmitted("127.0.0.1")
			c.CloseWrite()
			expectEnd(t, c)
		}
		flood.Wait()
		w.wantCounted(frontend.Denied, clients)
		w.wantCounted(frontend.Normal, 50)
		if got := w.log.count(`"message":"serving connection"`); got != 50 {
			t.Errorf("%d sessions began, want 50", got)
		}
		if c := w.b.Counters("f"); c.BytesUp.Load() != 50 || c.BytesDown.Load() != 50 {
			t.Errorf("%d bytes up and %d down, want 50 each", c.BytesUp.Load(), c.BytesDown.Load())
		}
		w.wantGranted(50)
		g.wantPeak(1)
	})
}

// slow is so few a second that none more is due while a test runs.
const slow = "0.00001"

func TestRateOfFrontend(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		g := newGauge(t)
		w := startWeir(t, engine, "", g.to(0)+noProbes+"[frontend.rate]\nburst = 3\nsessions = "+slow+"\n")
		for i := range 3 {
			w.leave(w.wantAdmitted(fmt.Sprintf("127.0.0.%d", i+1)))
		}
		for i := range 5 {
			w.wantTurnedAway(fmt.Sprintf("127.0.0.%d", i+1), frontend.TooFast)
		}
		w.wantCounted(frontend.TooFast, 5)
		w.wantGranted(3)
	})
}

// The rate comes back with time.
func TestRateComesBack(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		for _, table := range []string{"[frontend.rate]\nsessions = 5\nburst = 1\n", "[frontend.client]\nrate = 5\nburst = 1\n"} {
			g := newGauge(t)
			w := startWeir(t, engine, "", g.to(0)+noProbes+table)
			c := w.b.Counters("f")
			again := func(what string, outcome frontend.Outcome, n uint64) {
				eventually(t, what, func() bool { w.turnedAwayOrServed(); return c.Of(outcome) >= n })
			}
			again("a client to be served", frontend.Normal, 1)
			again("one to come too fast", frontend.TooFast, 1)
			again("more to be served", frontend.Normal, 4)
		}
	})
}

func (w *weir) turnedAwayOrServed() {
	w.t.Helper()
	conn, err := net.DialTimeout("tcp", w.addr, patience)
	if err == nil {
		c := patient(w.t, conn).(*net.TCPConn)
		c.CloseWrite()
		_, err = c.Read(make([]byte, 1))
		expectClosed(w.t, c)
		c.Close()
	}
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		w.t.Fatalf("a client got %v, want to be served or reset", err)
	}
}

func TestRateOfClient(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		g := newGauge(t)
		w := startWeir(t, engine, "", g.to(0)+noProbes+"[frontend.client]\nburst = 2\nipv4_prefix = 24\nrate = "+slow+"\n")
		w.leave(w.wantAdmitted("127.0.5.1"))
		w.leave(w.wantAdmitted("127.0.5.2")) // the same client, by its prefix
		w.wantTurnedAway("127.0.5.1", frontend.TooFast)
		w.wantTurnedAway("127.0.5.3", frontend.TooFast)
		w.leave(w.wantAdmitted("127.0.6.1"))
		w.wantCounted(frontend.TooFast, 2)
	})
}

func TestSessionsOfClient(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		g := newGauge(t)
		w := startWeir(t, engine, "", g.to(0)+noProbes+"[frontend.client]\nmax_sessions = 2\n")
		a, b := w.wantAdmitted("127.0.0.5"), w.wantAdmitted("127.0.0.5")
		for range 5 {
			w.wantTurnedAway("127.0.0.5", frontend.TooMany)
		}
		other := w.wantAdmitted("127.0.0.6")
		for range 20 { // a slot is given back with each session
			w.leave(a)
			a = w.wantAdmitted("127.0.0.5")
			w.wantTurnedAway("127.0.0.5", frontend.TooMany)
		}
		w.leave(a, b, other)
		w.wantCounted(frontend.TooMany, 25)
		g.wantPeak(3)
	})
}

// A client's slot comes back however its session ends: reached nobody, left the queue, refused, or turned
// away by the rate of the frontend.
func TestSessionsOfClientComeBack(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		one := "[frontend.client]\nmax_sessions = 1\n"
		t.Run("reached nobody", func(t *testing.T) {
			w := startWeir(t, engine, "retries = 0", to(deadAddress(t))+noProbes+neverEject+one)
			for range 5 {
				expectEnd(t, w.dial())
				w.wantEnd(frontend.ConnectRefused, "SC")
			}
		})
		t.Run("in the queue", func(t *testing.T) {
			s := newServer(t)
			w := startWeir(t, engine, "", to(s.addr(), "max_connections = 1")+noProbes+queueTable(1)+one)
			w.come('x', 1, "127.0.0.5", w.addr)
			s.accept()
			for range 5 {
				left := dialFrom(t, "127.0.0.6", w.addr)
				w.wantQueued(1)
				w.wantTurnedAway("127.0.0.6", frontend.TooMany)
				expectEnd(t, dialFrom(t, "127.0.0.7", w.addr))
				w.wantEnd(frontend.QueueFull, "PQ")
				reset(left)
				w.wantLeftQueue()
			}
		})
		t.Run("too fast", func(t *testing.T) {
			g := newGauge(t)
			w := startWeir(t, engine, "", g.to(0)+noProbes+one+"[frontend.rate]\nburst = 1\nsessions = "+slow+"\n")
			w.leave(w.wantAdmitted("127.0.0.5"))
			for range 5 {
				w.wantTurnedAway("127.0.0.5", frontend.TooFast)
			}
		})
	})
}

// The sessions of all frontends together have a limit, too. Who is above it waits in the accept queue, at
// whichever door.
func TestMaxSessionsOfProcess(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		g := newGauge(t)
		door := func(name string) string {
			return fmt.Sprintf("[[frontend]]\nname = %q\nengine = %q\nbind_on = \"127.0.0.1:0\"\n%s%s", name, engine, noProbes, g.to(0))
		}
		w := startWeirFile(t, "max_sessions = 3\n"+door("f")+door("g"))
		other := w.b.Addrs("g")[0].String()
		enter := func(addr string) *net.TCPConn {
			c := dialTCP(t, addr)
			send(t, c, "x")
			return c
		}
		var visits sync.WaitGroup
		for i := range 200 {
			visits.Go(func() {
				c := enter([]string{w.addr, other}[i%2])
				c.CloseWrite()
				if got, err := io.ReadAll(c); string(got) != "k" || err != nil {
					t.Errorf("client %d got %q, %v; want to be served", i, got, err)
				}
				c.Close()
			})
		}
		visits.Wait()
		for range 200 {
			w.wantEnd(frontend.Normal, "--")
		}
		if peak := g.peak.Load(); peak > 3 {
			t.Errorf("the backend saw %d connections at one time, want at most 3", peak)
		}
		inside := []*net.TCPConn{enter(w.addr), enter(other), enter(w.addr)}
		for _, c := range inside {
			expect(t, c, "k")
		}
		opened := w.b.Counters("f").Opened.Load() + w.b.Counters("g").Opened.Load()
		atG, atF := enter(other), enter(w.addr)
		w.log.next(t, "no session is free: further clients wait in the accept queue")
		if got := w.b.Counters("f").Opened.Load() + w.b.Counters("g").Opened.Load(); got != opened {
			t.Errorf("%d more sessions were opened, want none", got-opened)
		}
		w.leave(inside[0], inside[1])
		expect(t, atG, "k")
		expect(t, atF, "k")
		w.leave(inside[2], atG, atF)
		g.wantPeak(3)
	})
}
