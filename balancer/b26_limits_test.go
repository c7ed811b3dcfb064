//go:build linux

package balancer_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/backend"
	"weir/frontend"
)

// gauge is a backend that greets every connection, keeps it until its client has finished, and counts
// how many it has at one time.
type gauge struct {
	*server
	now, peak, all atomic.Int64
}

func newGauge(t *testing.T) *gauge {
	t.Helper()
	g := &gauge{server: newServer(t)}
	var serving sync.WaitGroup
	serving.Go(func() { g.serve(&serving) })
	t.Cleanup(func() { g.Close(); serving.Wait() })
	return g
}

func (g *gauge) serve(serving *sync.WaitGroup) {
	for {
		c, err := g.Accept()
		if err != nil {
			return
		}
		g.all.Add(1)
		n := g.now.Add(1) // only here, so nobody else can raise the peak
		g.peak.Store(max(g.peak.Load(), n))
		serving.Go(func() {
			defer c.Close()
			defer g.now.Add(-1) // before the close that lets weir send the next
			c.SetDeadline(time.Now().Add(patience))
			io.WriteString(c, "k")
			io.Copy(io.Discard, c)
		})
	}
}

func (g *gauge) to(limit int) string { return to(g.addr(), fmt.Sprintf("max_connections = %d", limit)) }

// wantPeak checks that the backend had exactly that many connections at its busiest, and has none now.
func (g *gauge) wantPeak(want int) {
	g.t.Helper()
	if peak := g.peak.Load(); peak != int64(want) {
		g.t.Errorf("the backend saw %d connections at one time, want %d", peak, want)
	}
	eventually(g.t, "the backend to have none", func() bool { return g.now.Load() == 0 })
}

// visitor has been greeted by a gauge, and stays.
func (w *weir) visitor() *net.TCPConn {
	w.t.Helper()
	c := w.dial()
	send(w.t, c, "x")
	expect(w.t, c, "k")
	return c
}

// leave ends a visit, and waits until weir knows.
func (w *weir) leave(visitors ...*net.TCPConn) {
	w.t.Helper()
	for _, c := range visitors {
		c.CloseWrite()
		expectEnd(w.t, c)
		w.wantEnd(frontend.Normal, "--")
	}
}

// wantFull checks that one more client is turned away.
func (w *weir) wantFull() {
	w.t.Helper()
	expectEnd(w.t, w.dial())
	if line := w.wantEnd(frontend.BackendsFull, "PQ"); line.Tries != 0 || line.Backend != "" {
		w.t.Errorf("%d tries, of %q; want none", line.Tries, line.Backend)
	}
}

// crowd is what became of many clients that came at one time, or what weir thinks.
type crowd struct{ served, refused int64 }

// burst lets that many clients in all make a short visit, as many at one time as descriptors allow. It
// returns what they saw, and checks that counters and log agree.
func (w *weir) burst(clients int) crowd {
	w.t.Helper()
	before := w.counted()
	var served, refused, left atomic.Int64
	left.Store(int64(clients))
	var coming sync.WaitGroup
	for range atOnce(w.t) {
		coming.Go(func() {
			for left.Add(-1) >= 0 {
				w.visit(&served, &refused)
			}
		})
	}
	coming.Wait()
	got := crowd{served.Load(), refused.Load()}
	if got.served+got.refused != int64(clients) {
		w.t.Errorf("of %d clients %d were served and %d refused", clients, got.served, got.refused)
	}
	after := w.counted()
	if c := (crowd{after.served - before.served, after.refused - before.refused}); c != got {
		w.t.Errorf("weir counted %+v, the clients %+v", c, got)
	}
	full := int(w.b.Counters("f").Of(frontend.BackendsFull))
	eventually(w.t, "a line for each session that found the backends full", func() bool { // counted before it is logged
		return w.log.count(`"outcome":"backends full","code":"PQ"`) == full
	})
	return got
}

// counted returns what weir has counted once no session is open.
func (w *weir) counted() crowd {
	w.t.Helper()
	c := w.b.Counters("f")
	eventually(w.t, "all sessions to end", func() bool { return c.Opened.Load() == c.Closed.Load() })
	normal := int64(c.Of(frontend.Normal))
	return crowd{normal, int64(c.Closed.Load()) - normal}
}

// atOnce returns how many visits there may be at one time: each takes two descriptors at both ends.
func atOnce(t *testing.T) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return int(min(1000, (limit.Cur-100)/5))
}

func (w *weir) visit(served, refused *atomic.Int64) {
	conn, err := net.DialTimeout("tcp", w.addr, patience)
	if err != nil {
		w.t.Error(err)
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, "x")
	conn.(*net.TCPConn).CloseWrite()
	switch got, err := io.ReadAll(conn); {
	case string(got) == "k" && err == nil:
		served.Add(1)
	case len(got) == 0 && (err == nil || errors.Is(err, syscall.ECONNRESET)): // its words came too late
		refused.Add(1)
	default:
		w.t.Errorf("a client got %q, %v", got, err)
	}
}

func TestB26Limit(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const limit = 20
		g := newGauge(t)
		w := startWeir(t, engine, "", g.to(limit)+noProbes)
		var visitors []*net.TCPConn
		for range limit {
			visitors = append(visitors, w.visitor())
		}
		for range 10 {
			w.wantFull()
		}
		w.leave(visitors[0])
		visitors[0] = w.visitor() // the slot is free again
		w.wantFull()
		w.leave(visitors...)

		c := w.burst(10000)
		if c.served == 0 || c.refused == 0 {
			t.Errorf("served %d and refused %d, want some of both", c.served, c.refused)
		}
		g.wantPeak(limit)
		if all := g.all.Load(); all != limit+1+c.served {
			t.Errorf("the backend saw %d connections in all, want %d", all, limit+1+c.served)
		}
	})
}

func TestB26TwoBackends(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		for _, strategy := range []string{"cyclic", "least-connections", "first", "source-hash"} {
			t.Run(strategy, func(t *testing.T) {
				small, large := newGauge(t), newGauge(t)
				w := startWeir(t, engine, fmt.Sprintf("strategy = %q", strategy), small.to(3)+large.to(7)+noProbes)
				var visitors []*net.TCPConn
				for range 3 + 7 {
					visitors = append(visitors, w.visitor())
				}
				w.wantFull()
				w.leave(visitors...)
				w.burst(1000)
				small.wantPeak(3)
				large.wantPeak(7)
			})
		}
	})
}

// Who has to wait for a session of the frontend waits in the accept queue, and nobody is refused.
func TestB26MaxSessions(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		const limit = 5
		g := newGauge(t)
		w := startWeir(t, engine, fmt.Sprintf("max_sessions = %d", limit), g.to(0)+noProbes)
		var visitors []*net.TCPConn
		for range limit {
			visitors = append(visitors, w.visitor())
		}
		waiting := w.dial()
		send(t, waiting, "x")
		w.log.next(t, "no session is free: further clients wait in the accept queue")
		if opened := w.b.Counters("f").Opened.Load(); opened != limit {
			t.Errorf("%d sessions were opened, want %d", opened, limit)
		}
		w.leave(visitors[0])
		expect(t, waiting, "k")
		w.leave(append(visitors[1:], waiting)...)
		if c := w.burst(1000); c.refused != 0 {
			t.Errorf("%d clients were refused, want none", c.refused)
		}
		g.wantPeak(limit)
	})
}

// A backup is for backends that fail, not for those that are busy.
func TestB26BackupStaysOut(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		g, backup := newGauge(t), newGauge(t)
		w := startWeir(t, engine, "", g.to(1)+to(backup.addr(), "backup = true")+noProbes)
		visitor := w.visitor()
		w.wantFull()
		w.leave(visitor)
		g.wantPeak(1)
		backup.wantPeak(0)
	})
}

// What other backends cannot take, one that has refused must not be asked for above its limit: a session
// whose backend failed gives its slot back before it chooses again.
func TestB26LimitWithRetries(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		g := newGauge(t)
		w := startWeir(t, engine, first+"retries = 1",
			to(deadAddress(t), "max_connections = 1")+g.to(4)+noProbes+neverEject)
		c := w.burst(1000)
		if c.served == 0 {
			t.Error("nobody was served")
		}
		if peak := g.peak.Load(); peak > 4 {
			t.Errorf("the backend saw %d connections at one time, want at most 4", peak)
		}
		for _, s := range w.b.Pool("f").Snapshot() {
			if s.Active != 0 || s.State != backend.Up {
				t.Errorf("backend %s is %s with %d sessions, want up with none", s.Backend.Name(), s.State, s.Active)
			}
		}
	})
}
