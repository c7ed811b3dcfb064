//go:build linux

package balancer_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"weir/backend"
	"weir/frontend"
)

// membersFile is a configuration with those backends, in tables of their own.
func membersFile(engine, drain, keys, health string, backends ...string) string {
	return fmt.Sprintf("[[frontend]]\nname = \"f\"\nengine = %q\nbind_on = \"127.0.0.1:0\"\n%s\n[frontend.health]\n%s\n%s\n[shutdown]\ndrain = %q\n",
		engine, keys, health, strings.Join(backends, ""), drain)
}

func named(name, address string, keys ...string) string {
	return to(address, append(keys, fmt.Sprintf("name = %q", name))...)
}

func echoes(t *testing.T, c net.Conn) {
	t.Helper()
	send(t, c, "are you there?")
	expect(t, c, "are you there?")
}

// B61: a backend that is removed and put back while its sessions live keeps them: what drained it stops.
func TestB61PutBackKeepsItsSessions(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		a, b := mirror(t), mirror(t)
		file := func(backends ...string) string {
			return membersFile(engine, "100ms", "", "kind = \"none\"", backends...)
		}
		both := []string{named("a", a.addr(), "max_connections = 2"), named("b", b.addr())}
		w := startWeirFile(t, file(both...))
		pool := w.b.Pool("f")
		onA := w.dial()
		echoes(t, onA) // before the other comes: another loop might take that one first
		onB := w.dial()
		echoes(t, onB)
		w.mustReload(file(named("c", b.addr())))
		if got := pool.Snapshot()[1]; got.State != backend.Removed || got.Active != 1 || got.Backend.Name() != "a" {
			t.Errorf("the first of the removed is %s %s with %d sessions, want a, removed, with 1", got.Backend.Name(), got.State, got.Active)
		}
		w.mustReload(file(both[0], named("c", b.addr())))
		expectReset(t, onB) // whose time was up: so was that of a
		echoes(t, onA)
		got := pool.Snapshot()[0]
		if got.State != backend.Up || got.Active != 1 || got.Totals.Sessions != 1 {
			t.Errorf("a is %s with %d sessions of %d, want up with 1 of 1", got.State, got.Active, got.Totals.Sessions)
		}
		onA.Close()
	})
}

// B62: sessions of a backend under its old name count against its limit.
func TestB62RenameKeepsTheLimit(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		g := newGauge(t)
		file := func(name string) string {
			return membersFile(engine, "30s", "[frontend.queue]\nsize = 10", "interval = \"10ms\"\nport = 1\naddress = \"127.0.0.1\"\nfall = 1000000",
				named(name, g.addr(), "max_connections = 2"))
		}
		w := startWeirFile(t, file("a"))
		first, second := w.visitor(), w.visitor()
		w.mustReload(file("b"))
		third := w.dial()
		eventually(t, "the third to wait", func() bool { return w.b.Pool("f").QueueSnapshot().Length == 1 })
		w.mustReload(file("c"))
		first.Close()
		send(t, third, "x")
		expect(t, third, "k") // it took the place of the first
		if got := w.b.Pool("f").Snapshot()[0]; got.Backend.Name() != "c" || got.Active != 1 || got.Elsewhere != 1 {
			t.Errorf("%s has %d sessions, and %d elsewhere; want c with 1 and 1", got.Backend.Name(), got.Active, got.Elsewhere)
		}
		second.Close()
		third.Close()
	})
}

// B62: a frontend under another name, at an address that it had, is the same: what it has stays, and its limits hold.
func TestB62RenamedFrontend(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		g := newGauge(t)
		file := func(name string) string {
			return strings.Replace(membersFile(engine, "30s", "[frontend.queue]\nsize = 10", "kind = \"none\"",
				named("b", g.addr(), "max_connections = 1")), `"f"`, fmt.Sprintf("%q", name), 1)
		}
		w := startWeirFile(t, file("f"))
		pool := w.b.Pool("f")
		first := w.visitor()
		plan := w.mustReload(file("other"))
		if got := fmt.Sprint(plan.Changes); got != `[~ frontend other: name: "f" -> "other"]` {
			t.Errorf("the plan says %s", got)
		}
		if w.b.Pool("other") != pool || w.b.Pool("f") != nil {
			t.Error("the pool is another one")
		}
		second := w.dial()
		eventually(t, "the second to wait", func() bool { return pool.QueueSnapshot().Length == 1 })
		first.Close()
		send(t, second, "x")
		expect(t, second, "k")
		if line := w.log.next(t, "served connection"); !strings.Contains(line, `"frontend":"other"`) {
			t.Errorf("the log line has another name: %s", line)
		}
		second.Close()
		w.mustReload(file("f"))
		if peak := g.peak.Load(); peak != 1 {
			t.Errorf("the backend saw %d sessions at one time, want 1", peak)
		}
	})
}

// B63: a reload that replaces every backend refuses nobody, also not those that wait.
func TestB63EveryBackendIsReplaced(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		servers := []*server{mirror(t), mirror(t), mirror(t), mirror(t)}
		file := func(i int) string {
			x, y := servers[i%2*2], servers[i%2*2+1]
			return membersFile(engine, "30s", "max_connections = 8\n[frontend.queue]\nsize = 1000", "interval = \"1s\"",
				named(fmt.Sprintf("x%d", i), x.addr()), named(fmt.Sprintf("y%d", i), y.addr()))
		}
		w := startWeirFile(t, file(0))
		ctx, stop := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		var visits atomic.Int64
		for range 16 { // twice as many as are served at a time
			clients.Go(func() { visitUntil(ctx, t, w.addr, &visits) })
		}
		for i := range 30 {
			before := visits.Load()
			w.mustReload(file(i + 1))
			eventually(t, "visits", func() bool { return visits.Load() > before+20 })
		}
		stop()
		clients.Wait()
		c := w.b.Counters("f")
		for o := range frontend.Outcomes() {
			if n := c.Of(o); o != frontend.Normal && n > 0 {
				t.Errorf("%d sessions ended as %s", n, o)
			}
		}
	})
}

// What an operator said stays with the name when the file gives the backend another address, and the plan says so.
func TestAdminStaysWithTheNameInAReload(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		a, b := mirror(t), mirror(t)
		file := func(backends ...string) string {
			return membersFile(engine, "30s", "", "kind = \"none\"", append(backends, named("b", b.addr()))...)
		}
		w := startWeirFile(t, file(named("a", a.addr())))
		v, _ := w.b.View("f")
		v.SetAdmin(v.Pool.Backends()[0], backend.AdminMaint, "set to maint by root")
		w.mustReload(file())
		plan := w.mustReload(file(named("a", "127.0.0.1:1")))
		if want := "+ frontend f: backend a 127.0.0.1:1 (gets no sessions: set to maint by root)"; len(plan.Changes) != 1 || plan.Changes[0].String() != want {
			t.Errorf("the plan says %v, want %s", plan.Changes, want)
		}
		w.state(0, backend.Maint)
		for range 3 {
			c := w.dial()
			echoes(t, c)
			c.Close()
		}
	})
}

// probedServer counts who probes it, and from where. It has no sessions.
type probedServer struct {
	*server
	probes atomic.Int64
	from   sync.Map // hosts
}

func newProbedServer(t *testing.T) *probedServer {
	s := &probedServer{server: newServer(t)}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := s.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			s.from.Store(host, true)
			s.probes.Add(1)
			c.Close()
		}
	})
	t.Cleanup(func() { s.Close(); serving.Wait() })
	return s
}

// The admin API answers a moment before the frontends are started: what it is asked for then holds.
func TestAdminWhileWeirStarts(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		for i := range 20 {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				a, b := newProbedServer(t), newProbedServer(t)
				w := startWeirFile(t, membersFile(engine, "30s", "", "interval = \"10ms\"\non_up = \"close_backup_sessions\"",
					named("a", a.addr()), named("b", b.addr(), "backup = true")))
				v, _ := w.b.View("f")
				v.SetAdmin(v.Pool.Backends()[1], backend.AdminMaint, "set to maint by test")
				v.Failback()
				eventually(t, "probes", func() bool { return a.probes.Load() > 3 })
				before := b.probes.Load()
				eventually(t, "probes", func() bool { return a.probes.Load() > 10 })
				if n := b.probes.Load() - before; n > 1 { // one was under way
					t.Errorf("%d probes in maintenance", n)
				}
				w.state(1, backend.Maint)
			})
		}
	})
}

// Maintenance means that nobody probes; and what is ready again serves when a probe has passed.
func TestMaintIsNotProbed(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		a, b := newProbedServer(t), newProbedServer(t)
		w := startWeirFile(t, membersFile(engine, "30s", "", "interval = \"10ms\"", named("a", a.addr()), named("b", b.addr())))
		v, _ := w.b.View("f")
		backendA := v.Pool.Backends()[0]
		eventually(t, "probes", func() bool { return a.probes.Load() > 1 })
		v.SetAdmin(backendA, backend.AdminMaint, "set to maint by test")
		probed := func(s *probedServer, n int64) {
			before := s.probes.Load()
			eventually(t, "probes", func() bool { return s.probes.Load() >= before+n })
		}
		probed(b, 3) // so that one of a that was under way has arrived
		before := a.probes.Load()
		w.mustReload(membersFile(engine, "30s", "retries = 7", "interval = \"10ms\"\nrise = 4", named("a", a.addr()), named("b", b.addr())))
		probed(b, 20)
		if n := a.probes.Load() - before; n > 0 {
			t.Errorf("%d probes in maintenance", n)
		}
		a.Close() // it is not there when it is said to be ready
		v.SetAdmin(backendA, backend.AdminReady, "set to ready by test")
		eventually(t, "a bad probe", func() bool { return v.Pool.Snapshot()[0].Health.Last.Err != nil })
		if got := v.Pool.Snapshot()[0]; got.State != backend.Down || got.Admin.State != backend.AdminReady {
			t.Errorf("a is %s (%s), want down", got.State, got.Reason)
		}
		serverOn(t, a.addr()) // which accepts nobody; to be connected to is enough
		w.state(0, backend.Up)
	})
}

// Probes come from where sessions come from.
func TestProbesTakeTheSourceAddress(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := newProbedServer(t)
		file := func(source string) string {
			return membersFile(engine, "30s", source, "interval = \"10ms\"", named("a", s.addr()))
		}
		w := startWeirFile(t, file(`source_address = ["127.0.0.8", "127.0.0.9"]`))
		saw := func(host string) bool { _, ok := s.from.Load(host); return ok }
		eventually(t, "probes from both", func() bool { return saw("127.0.0.8") && saw("127.0.0.9") })
		if saw("127.0.0.1") {
			t.Error("a probe came from 127.0.0.1")
		}
		w.mustReload(file(`source_address = "127.0.0.7"`))
		eventually(t, "probes from the new one", func() bool { return saw("127.0.0.7") })
	})
}

// Backends that were removed leave nothing behind, however many there were.
func TestRemovedBackendsLeaveNothing(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := mirror(t)
		file := func(generation int) string {
			var backends []string
			for i := range 50 {
				backends = append(backends, named(fmt.Sprintf("b%d.%d", generation, i), s.addr()))
			}
			other := fmt.Sprintf("[[frontend]]\nname = \"g%d\"\nengine = %q\nbind_on = \"127.0.0.1:0\"\n%s", generation, engine, to(s.addr()))
			return membersFile(engine, "1h", "", "interval = \"1h\"", backends...) + other
		}
		w := startWeirFile(t, file(0))
		c := w.dial()
		echoes(t, c)
		<-w.b.Started() // clients are accepted before all is
		before := runtime.NumGoroutine()
		for i := range 40 {
			w.mustReload(file(i + 1))
		}
		if got := len(w.b.Pool("f").Snapshot()); got != 51 {
			t.Errorf("%d backends are known, want 50 and the one with a session", got)
		}
		eventually(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= before+10 })
		echoes(t, c)
		c.Close()
		eventually(t, "the last one to be gone", func() bool { return len(w.b.Pool("f").Snapshot()) == 50 })
	})
}

// A backend that ends sessions before it has answered is ejected, where that is wanted.
func TestEarlyEndOfABackend(t *testing.T) {
	for _, how := range []string{"ends", "resets"} {
		t.Run(how, func(t *testing.T) {
			everyEngine(t, func(t *testing.T, engine string) {
				bad, good := newServer(t), mirror(t)
				var serving sync.WaitGroup
				serving.Go(func() {
					for {
						c, err := bad.Accept()
						if err != nil {
							return
						}
						io.ReadFull(c, make([]byte, 5))
						if how == "resets" {
							reset(c.(*net.TCPConn))
						}
						c.Close()
					}
				})
				defer serving.Wait()
				defer bad.Close()
				w := startWeirFile(t, membersFile(engine, "30s", "strategy = \"first\"\n[frontend.passive]\nearly_end = true",
					"kind = \"none\"", named("bad", bad.addr()), named("good", good.addr())))
				for range 3 { // which stay open at the client's end
					c := w.dial()
					send(t, c, "hello")
					expectClosed(t, c)
				}
				w.state(0, backend.Ejected)
				c := w.dial()
				echoes(t, c)
				c.Close()
				if got := w.b.Pool("f").Snapshot()[0].Totals.EarlyEnds; got != 3 {
					t.Errorf("%d early ends, want 3", got)
				}
			})
		})
	}
	t.Run("not when the client has ended first, or has said nothing", func(t *testing.T) {
		everyEngine(t, func(t *testing.T, engine string) {
			s := newServer(t)
			w := startWeirFile(t, membersFile(engine, "30s", "[frontend.passive]\nearly_end = true\nfailures = 1\nmax_ejected = 100", "kind = \"none\"", named("s", s.addr())))
			for _, says := range []string{"a line for the log\n", ""} {
				c := w.dial()
				at := s.accept()
				if says != "" {
					send(t, c, says)
					c.CloseWrite()
					io.Copy(io.Discard, at)
				}
				at.Close()
				expectClosed(t, c)
				c.Close()
				w.ended()
			}
			if got := w.b.Pool("f").Snapshot()[0]; got.State != backend.Up || got.Totals.EarlyEnds != 0 {
				t.Errorf("it is %s with %d early ends, want up with 0", got.State, got.Totals.EarlyEnds)
			}
		})
	})
}

// When others are up again the sessions of backups are closed, and new ones go to those; with a failback by hand,
// when it is said.
func TestSessionsOfBackupsAreClosed(t *testing.T) {
	for _, failback := range []string{"auto", "manual"} {
		t.Run(failback, func(t *testing.T) {
			everyEngine(t, func(t *testing.T, engine string) {
				first, standby := mirror(t), mirror(t)
				primary := first.addr()
				first.Close()
				w := startWeirFile(t, membersFile(engine, "30s", fmt.Sprintf("failback = %q", failback),
					"interval = \"10ms\"\nfall = 1\nrise = 1\non_up = \"close_backup_sessions\"",
					named("primary", primary), named("standby", standby.addr(), "backup = true")))
				w.state(0, backend.Down)
				one, other := w.dial(), w.dial()
				echoes(t, one)
				echoes(t, other)
				mirrorOn(t, primary)
				w.state(0, backend.Up)
				v, _ := w.b.View("f")
				if failback == "manual" {
					echoes(t, one)
					c := w.dial()
					echoes(t, c)
					c.Close()
					if s := w.ended(); s.Backend != "standby" {
						t.Errorf("a session went to %s before the failback, want standby", s.Backend)
					}
					if !v.Failback() {
						t.Error("there was nothing to fail back")
					}
				}
				expectReset(t, one)
				expectReset(t, other)
				w.wantEnd(frontend.BackendsUp, "UD")
				w.wantEnd(frontend.BackendsUp, "UD")
				c := w.dial()
				echoes(t, c)
				c.Close()
				if s := w.ended(); s.Backend != "primary" {
					t.Errorf("a session went to %s, want primary", s.Backend)
				}
			})
		})
	}
}
