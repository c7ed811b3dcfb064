//go:build linux

package balancer_test

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/backend"
	"weir/frontend"
)

// queueTable is a queue that nobody leaves for want of patience, unless keys say otherwise.
func queueTable(size int, keys ...string) string {
	table := fmt.Sprintf("[frontend.queue]\nsize = %d\n%s\n", size, strings.Join(keys, "\n"))
	if !strings.Contains(table, "timeout") {
		table += "timeout = \"1h\"\n"
	}
	return table
}

// wantQueued waits until that many sessions wait for a backend.
func (w *weir) wantQueued(n int) {
	w.t.Helper()
	eventually(w.t, fmt.Sprintf("%d sessions to wait", n), func() bool { return w.b.Pool("f").QueueSnapshot().Length == n })
}

// wantGranted checks how many sessions were ever given a backend.
func (w *weir) wantGranted(n uint64) {
	w.t.Helper()
	if got := w.b.Pool("f").Snapshot()[0].Totals.Sessions; got != n {
		w.t.Errorf("%d sessions were given the backend, want %d", got, n)
	}
}

// taken is a weir whose backend has one slot, and a session that has it.
type taken struct {
	*weir
	server         *server
	holder, served *net.TCPConn // the client's end of the session, and the server's
}

func takenWeir(t *testing.T, engine, frontendKeys, tables string) *taken {
	t.Helper()
	s := newServer(t)
	w := startWeir(t, engine, frontendKeys, to(s.addr(), "max_connections = 1")+tables+noProbes)
	holder, served := open(t, w, s)
	return &taken{w, s, holder, served}
}

// free ends the session that has the slot.
func (k *taken) free() {
	k.t.Helper()
	finish(k.t, k.holder, k.served)
	k.wantEnd(frontend.Normal, "--")
}

// B23: who leaves is forgotten, and the next connection is that of the next client.
func TestB23Leaves(t *testing.T) {
	for _, c := range []struct {
		name, say string
		leave     func(*net.TCPConn)
	}{
		{"reset", "", reset},
		{"reset after bytes", "hello", reset},
		{"reset after bytes and their end", "hello", func(c *net.TCPConn) { c.CloseWrite(); reset(c) }},
		{"end without a byte", "", func(c *net.TCPConn) { c.CloseWrite() }},
		{"close without a byte", "", func(c *net.TCPConn) { c.Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			everyEngine(t, func(t *testing.T, engine string) {
				k := takenWeir(t, engine, "", queueTable(10))
				leaver, stayer := k.dial(), k.dial()
				send(t, leaver, c.say)
				send(t, stayer, "I stay")
				k.wantQueued(2)
				c.leave(leaver)
				k.wantLeftQueue()
				k.wantQueued(1)
				k.free()
				served := k.server.accept()
				expect(t, served, "I stay")
				finish(t, stayer, served)
				k.wantEnd(frontend.Normal, "--")
				k.wantGranted(2)
			})
		})
	}
}

// wantLeftQueue checks that the next session that ends is that of a client which left the queue.
func (w *weir) wantLeftQueue() {
	w.t.Helper()
	if line := w.wantEnd(frontend.ClientLeft, "CQ"); line.Tries != 0 || line.Backend != "" {
		w.t.Errorf("%d tries, of %q; want none", line.Tries, line.Backend)
	}
}

// Who ends its stream without a byte still sees an end, and not a reset; also when that came before the
// queue.
func TestB23EndsAtOnce(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		k := takenWeir(t, engine, "", queueTable(10))
		for range 20 {
			c := k.dial()
			c.CloseWrite()
			expectEnd(t, c)
			k.wantLeftQueue()
		}
		k.wantQueued(0)
		k.free()
		k.wantGranted(1)
	})
}

// A unix client that closes hangs up, whatever it has sent before.
func TestB23HangsUp(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		path := filepath.Join(t.TempDir(), "f")
		s := newServer(t)
		w := startWeir(t, engine, fmt.Sprintf("bind_on = %q", "unix:"+path), to(s.addr(), "max_connections = 1")+queueTable(10)+noProbes)
		holder := dialUnix(t, path)
		served := s.accept()
		leaver := dialUnix(t, path)
		send(t, leaver, "hello")
		w.wantQueued(1)
		leaver.Close()
		w.wantLeftQueue()
		finish(t, holder, served)
		w.wantEnd(frontend.Normal, "--")
		w.wantGranted(1)
	})
}

// An end after bytes is a half-close, and a client that may say nothing at all may end its stream: both are
// served to their end.
func TestB23HalfCloseStays(t *testing.T) {
	for _, c := range []struct{ name, say, keys string }{
		{"after bytes", "question", ""},
		{"without a byte, where that is no leaving", "", "leave_on_end = false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			everyEngine(t, func(t *testing.T, engine string) {
				k := takenWeir(t, engine, "", queueTable(10, c.keys))
				stayer, leaver := k.dial(), k.dial()
				send(t, stayer, c.say)
				stayer.CloseWrite()
				k.wantQueued(2)
				reset(leaver) // whoever has seen this has seen what came before
				k.wantLeftQueue()
				k.wantQueued(1)
				k.free()
				served := k.server.accept()
				expect(t, served, c.say)
				expectEnd(t, served)
				send(t, served, "answer")
				served.CloseWrite()
				expect(t, stayer, "answer")
				expectEnd(t, stayer)
				if line := k.wantEnd(frontend.Normal, "--"); line.BytesUp != int64(len(c.say)) || line.BytesDown != 6 {
					t.Errorf("%d bytes up and %d down, want %d and 6", line.BytesUp, line.BytesDown, len(c.say))
				}
			})
		})
	}
}

// A crowd that leaves while its turn comes: every slot goes to one that is still there, or on.
func TestB23LeavesAtItsTurn(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const limit, clients = 3, 300
		g := newGauge(t)
		w := startWeir(t, engine, "", g.to(limit)+queueTable(clients)+noProbes)
		visitors := []*net.TCPConn{w.visitor(), w.visitor(), w.visitor()}
		var waiting []*net.TCPConn
		for range clients {
			waiting = append(waiting, w.dial())
		}
		w.wantQueued(clients)
		stop := w.watchFull(limit)
		var all sync.WaitGroup
		for _, c := range visitors {
			all.Go(func() { c.CloseWrite(); io.Copy(io.Discard, c) })
		}
		for i, c := range waiting {
			all.Go(func() {
				io.WriteString(c, "x")
				if i%2 == 0 {
					reset(c)
					return
				}
				c.CloseWrite()
				if got, err := io.ReadAll(c); string(got) != "k" || err != nil {
					t.Errorf("client %d got %q, %v; want to be served", i, got, err)
				}
			})
		}
		all.Wait()
		stop()
		w.counted()
		w.wantQueued(0)
	})
}

// B25: nobody waits for a place in the queue.
func TestB25QueueFull(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		k := takenWeir(t, engine, "", queueTable(2))
		first, second := k.dial(), k.dial()
		k.wantQueued(2)
		for n := range 3 {
			expectEnd(t, k.dial())
			line := k.wantEnd(frontend.QueueFull, "PQ")
			if line.WaitedMS != 0 || line.Tries != 0 || line.Backend != "" {
				t.Errorf("waited %v ms, %d tries of %q; want none", line.WaitedMS, line.Tries, line.Backend)
			}
			if got := k.b.Pool("f").QueueSnapshot().Refused; got != uint64(n+1) {
				t.Errorf("the queue counts %d refused, want %d", got, n+1)
			}
		}
		reset(first) // and there is room again
		k.wantLeftQueue()
		third := k.dial()
		k.wantQueued(2)
		reset(second)
		reset(third)
		k.wantLeftQueue()
		k.wantLeftQueue()
		k.free()
		k.wantGranted(1)
	})
}

func TestB25QueueTimeout(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const timeout = 2 * time.Second
		k := takenWeir(t, engine, "", queueTable(2, `timeout = "2s"`))
		began := time.Now()
		late := k.dial()
		send(t, late, "is my turn near?")
		expectEnd(t, late)
		within(t, "refused", time.Since(began), timeout)
		line := k.wantEnd(frontend.QueueTimeout, "sQ")
		within(t, "waited, as logged,", milliseconds(line.WaitedMS), timeout)
		if line.Tries != 0 || line.Backend != "" {
			t.Errorf("%d tries, of %q; want none", line.Tries, line.Backend)
		}
		k.wantQueued(0)
		k.free()
		k.wantGranted(1)
	})
}

// The time that a session has in all ends in the queue, too.
func TestB25SessionTimeout(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		w := startWeir(t, engine, "on_no_backend = \"hold\"\nsession_timeout = \"1s\"",
			to(deadAddress(t))+queueTable(2)+probes("5s", "1h", 1, 1)+"initial = \"down\"\n")
		expectEnd(t, w.dial())
		w.wantEnd(frontend.SessionTimeout, "PQ")
		w.wantQueued(0)
		w.wantGranted(0)
	})
}

// First come, first served; and how long each waited is told.
func TestB25FirstComeFirstServed(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const clients = 10
		k := takenWeir(t, engine, "", queueTable(clients))
		for i := range clients {
			send(t, k.dial(), string('0'+rune(i)))
			k.wantQueued(i + 1)
		}
		k.free()
		for i := range clients {
			served := k.server.accept()
			expect(t, served, string('0'+rune(i)))
			reset(served)
			if line := k.wantEnd(frontend.BackendReset, "SD"); line.WaitedMS <= 0 || line.WaitedMS > line.TotalMS {
				t.Errorf("client %d waited %v of %v ms", i, line.WaitedMS, line.TotalMS)
			}
		}
		s := k.b.Pool("f").QueueSnapshot()
		var counted uint64
		for _, n := range s.Waits {
			counted += n
		}
		if s.Served != clients || counted != clients || s.Waited <= 0 {
			t.Errorf("the queue has served %d (%d by time) in %v, want %d", s.Served, counted, s.Waited, clients)
		}
	})
}

// B26 with a queue: never more than the limit, never less while anybody waits, and everybody is served.
func TestB26QueueUnderBurst(t *testing.T) {
	for _, c := range []struct {
		name, keys string
		limits     []int
		want       int // at all backends together
	}{
		{"limit of the backend", "", []int{20}, 20},
		{"limit of the pool", "max_connections = 15", []int{0}, 15},
		{"two backends", `strategy = "least-connections"`, []int{3, 7}, 10},
		{"two backends and a limit of the pool", "max_connections = 7", []int{4, 5}, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			everyEngine(t, func(t *testing.T, engine string) {
				const clients = 2000
				var gauges []*gauge
				tables := queueTable(clients) + noProbes
				for _, limit := range c.limits {
					g := newGauge(t)
					gauges = append(gauges, g)
					tables += g.to(limit)
				}
				w := startWeir(t, engine, c.keys, tables)
				stop := w.watchFull(c.want)
				if got := w.burst(clients); got.refused != 0 {
					t.Errorf("%d clients were refused, want none", got.refused)
				}
				stop()
				var all int64
				for i, g := range gauges {
					all += g.all.Load()
					if peak, limit := int(g.peak.Load()), c.limits[i]; limit > 0 && peak > limit {
						t.Errorf("backend %d saw %d connections at one time, want at most %d", i, peak, limit)
					}
				}
				if all != clients {
					t.Errorf("the backends saw %d connections, want %d", all, clients)
				}
				if len(gauges) == 1 {
					gauges[0].wantPeak(c.want)
				}
				w.wantQueued(0)
			})
		})
	}
}

// watchFull looks at the pool again and again, until stop: never is a slot free while somebody waits, and
// never are there more than the limit.
func (w *weir) watchFull(limit int) (stop func()) {
	over := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		waited := false
		for tick := time.NewTicker(100 * time.Microsecond); ; {
			s := w.b.Pool("f").QueueSnapshot()
			waited = waited || s.Length > 0
			if active := sessions(s); active > limit || s.Length > 0 && active != limit {
				w.t.Errorf("%d sessions while %d wait, want %d", active, s.Length, limit)
			}
			select {
			case <-tick.C:
			case <-over:
				tick.Stop()
				if !waited {
					w.t.Error("nobody ever waited")
				}
				return
			}
		}
	})
	return func() { close(over); watching.Wait() }
}

func sessions(s backend.QueueStatus) (n int) {
	for _, c := range s.Classes {
		n += c.Active
	}
	return n
}

// B26: two frontends do not count each other's sessions, nor let each other wait.
func TestB26QueueOfEachFrontend(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := newServer(t)
		frontend := func(name string) string {
			return fmt.Sprintf("[[frontend]]\nname = %q\nengine = %q\nbind_on = \"127.0.0.1:0\"\n%s%s%s",
				name, engine, queueTable(1), noProbes, to(s.addr(), "max_connections = 1"))
		}
		w := startWeirFile(t, frontend("f")+frontend("g"))
		dialTCP(t, w.addr)
		s.accept()
		dialTCP(t, w.addr)
		w.wantQueued(1)
		c := dialTCP(t, w.b.Addrs("g")[0].String())
		send(t, c, "other door")
		expect(t, s.accept(), "other door")
		w.wantQueued(1)
	})
}

// A weir that drains still serves who waits.
func TestShutdownServesQueue(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		k := takenWeir(t, engine, "", queueTable(10)+"[shutdown]\ndrain = \"1h\"\n")
		var waiting []*net.TCPConn
		for i := range 3 {
			waiting = append(waiting, k.dial())
			k.wantQueued(i + 1)
		}
		k.stop()
		k.log.next(t, "stopping")
		k.free()
		for _, c := range waiting {
			finish(t, c, k.server.accept())
			k.wantEnd(frontend.Normal, "--")
		}
		k.wantGranted(4)
	})
}

// Who still waits when the drain is over, or ended by a second signal, is cut: by a reset, for it was to
// have an answer.
func TestShutdownCutsQueue(t *testing.T) {
	for _, c := range []struct {
		name, drain string
		cut         func(*weir)
	}{
		{"drain", "1s", func(*weir) {}},
		{"second signal", "1h", func(w *weir) { w.kill() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			everyEngine(t, func(t *testing.T, engine string) {
				w := startWeir(t, engine, "on_no_backend = \"hold\"", to(deadAddress(t))+queueTable(10)+
					probes("5s", "1h", 1, 1)+"initial = \"down\"\n"+fmt.Sprintf("[shutdown]\ndrain = %q\n", c.drain))
				silent, speaker := w.dial(), w.dial()
				send(t, speaker, "hello")
				w.wantQueued(2)
				w.stop()
				c.cut(w)
				expectReset(t, silent)
				expectReset(t, speaker)
				w.wantEnd(frontend.Shutdown, "KQ")
				w.wantEnd(frontend.Shutdown, "KQ")
				w.wantQueued(0)
				w.wantGranted(0)
			})
		})
	}
}
