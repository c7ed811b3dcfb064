//go:build linux

package balancer_test

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"weir/backend"
	"weir/frontend"
)

// sessions lists the live sessions, the oldest first.
func (w *weir) sessions(o frontend.Inspect) (list []frontend.Info) {
	w.t.Helper()
	err := w.b.Inspector("f").Sessions(w.t.Context(), o, func(i *frontend.Info) bool {
		list = append(list, *i)
		return true
	})
	if err != nil {
		w.t.Fatalf("Sessions: %v", err)
	}
	slices.SortFunc(list, func(a, b frontend.Info) int { return int(int64(a.ID - b.ID)) })
	return list
}

// session waits until the session of that client is in that phase, and returns it.
func (w *weir) session(c net.Conn, phase string) (found frontend.Info) {
	w.t.Helper()
	eventually(w.t, "a session to be "+phase, func() bool {
		for _, s := range w.sessions(frontend.Inspect{TCP: true}) {
			if s.Client.String() == c.LocalAddr().String() {
				found = s
			}
		}
		return found.Phase == phase
	})
	return found
}

// killAll kills the sessions of those clients.
func (w *weir) killAll(clients ...net.Conn) int {
	w.t.Helper()
	n, err := w.b.Inspector("f").Kill(w.t.Context(), func(i *frontend.Info) bool {
		return slices.ContainsFunc(clients, func(c net.Conn) bool { return c.LocalAddr().String() == i.Client.String() })
	}, frontend.Killed)
	if err != nil {
		w.t.Fatalf("Kill: %v", err)
	}
	return n
}

// oneSlot is a weir whose one backend takes one session, and lets the others wait.
func oneSlot(t *testing.T, engine string) (*weir, *server) {
	s := newServer(t)
	return startWeir(t, engine, "idle_timeout = \"0\"", to(s.addr(), `name = "db"`, "max_connections = 1")+
		"[frontend.queue]\nsize = 9\ntimeout = \"1h\"\n"+noProbes), s
}

func TestSessionsInEveryPhase(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		began := time.Now()
		w, s := oneSlot(t, engine)
		client := w.dial()
		backend := s.accept()
		send(t, client, "four")
		expect(t, backend, "four")
		send(t, backend, "and six")
		expect(t, client, "and six")
		waiting := w.dial()

		first := w.session(client, frontend.PhaseRelaying)
		eventually(t, "the bytes to be counted", func() bool {
			first = w.session(client, frontend.PhaseRelaying)
			return first.BytesUp == 4 && first.BytesDown == 7
		})
		if first.Frontend != "f" || first.Backend != "db" || first.Accepted.Before(began) || first.Accepted.After(time.Now()) {
			t.Errorf("the first session: %+v", first)
		}
		if age := time.Since(first.Accepted); first.Idle < 0 || first.Idle > age+10*time.Millisecond { // the kernel's clock has ticks
			t.Errorf("idle for %v, want 0 to %v", first.Idle, age)
		}
		for _, tcp := range []frontend.TCP{first.ClientTCP, first.BackendTCP} {
			if !tcp.Known || tcp.RTT <= 0 || tcp.RTT > patience || tcp.Retransmits > 100 {
				t.Errorf("TCP_INFO: %+v", tcp)
			}
		}
		second := w.session(waiting, frontend.PhaseQueued)
		if second.Backend != "" || second.Idle != -1 || !second.ClientTCP.Known || second.BackendTCP.Known || second.ID <= first.ID {
			t.Errorf("the session that waits: %+v", second)
		}
		for _, i := range w.sessions(frontend.Inspect{}) {
			if i.ClientTCP.Known || i.BackendTCP.Known {
				t.Errorf("TCP_INFO, and nobody asked: %+v", i)
			}
			if i.ID == first.ID && i.Idle < 0 {
				t.Errorf("idle is not known: %+v", i)
			}
		}

		client.CloseWrite()
		w.session(client, frontend.PhaseHalfClosed)
		backend.Close()
		expectEnd(t, client)
		w.wantEnd(frontend.Normal, "--")
		backend = s.accept()
		if got := w.session(waiting, frontend.PhaseRelaying); got.ID != second.ID || got.Backend != "db" {
			t.Errorf("the session that waited: %+v", got)
		}
		if n := len(w.sessions(frontend.Inspect{})); n != 1 {
			t.Errorf("%d sessions, want 1", n)
		}
		finishBoth(t, waiting, backend)
		w.wantEnd(frontend.Normal, "--")
		eventually(t, "no session to be left", func() bool { return len(w.sessions(frontend.Inspect{})) == 0 })
		if c := w.b.Counters("f"); c.QueueWait.Snapshot().Count != 1 || c.Connect.Snapshot().Count != 2 || c.Length.Snapshot().Count != 2 {
			t.Errorf("%d waits, %d connects, %d lengths; want 1, 2, 2", c.QueueWait.Snapshot().Count,
				c.Connect.Snapshot().Count, c.Length.Snapshot().Count)
		}
	})
}

// What the log line of a session will say is told while it lives: how long it has waited and took to connect, in how
// many attempts, and its class.
func TestSessionsTellWhatTheLogWill(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := newServer(t)
		w := startWeir(t, engine, `retries = 3`, to(deadAddress(t), "weight = 256")+to(s.addr(), `name = "db"`, "max_connections = 1", "weight = 1")+
			queueTable(9)+noProbes+"[frontend.passive]\nfailures = 1\neject_for = \"1h\"\n"+class("other", "127.0.0.11")+class("ours", "127.0.0.12"))
		client := dialFrom(t, "127.0.0.12", w.addr)
		backend := s.accept()
		settled(t, client, backend)
		live := w.session(client, frontend.PhaseRelaying)
		if live.Tries != 2 || live.Connect <= 0 || live.Waited <= 0 || live.Class != 1 {
			t.Errorf("a session at its second backend tells %d tries, %v to connect, %v waited, class %d; want 2, more than 0 twice, 1",
				live.Tries, live.Connect, live.Waited, live.Class)
		}
		if live.ClientTCP.RTTVar <= 0 || live.BackendTCP.RTTVar <= 0 {
			t.Errorf("TCP_INFO without variance: %+v and %+v", live.ClientTCP, live.BackendTCP)
		}
		waiting := dialFrom(t, "127.0.0.11", w.addr)
		w.session(waiting, frontend.PhaseQueued)
		eventually(t, "a session that is queued to say for how long", func() bool {
			i := w.session(waiting, frontend.PhaseQueued)
			return i.Waited > 20*time.Millisecond && i.Waited <= time.Since(i.Accepted) && i.Class == 0
		})
		finishBoth(t, client, backend)
		line := w.wantEnd(frontend.Normal, "--")
		if line.Tries != live.Tries || milliseconds(line.WaitedMS).Round(time.Millisecond) != live.Waited.Round(time.Millisecond) ||
			milliseconds(line.ConnectMS).Round(time.Millisecond) != live.Connect.Round(time.Millisecond) {
			t.Errorf("the log says %+v, and was told before: %+v", line, live)
		}
	})
}

func finishBoth(t *testing.T, client, backend *net.TCPConn) {
	t.Helper()
	client.CloseWrite()
	expectEnd(t, backend)
	backend.Close()
	expectEnd(t, client)
}

// Idle begins anew with every byte.
func TestSessionsTellIdle(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		w, client, backend := through(t, engine, "idle_timeout = \"0\"")
		idle := func() time.Duration { return w.session(client, frontend.PhaseRelaying).Idle }
		send(t, client, "x")
		expect(t, backend, "x")
		eventually(t, "the session to be idle for 100 ms", func() bool { return idle() >= 100*time.Millisecond })
		quiet := time.Now()
		send(t, backend, "y")
		expect(t, client, "y")
		eventually(t, "that to be over", func() bool { return idle() < 100*time.Millisecond+time.Since(quiet) })
		if got := idle(); got > time.Since(quiet)+50*time.Millisecond {
			t.Errorf("idle for %v, %v after a byte", got, time.Since(quiet))
		}
	})
}

// A session that is killed is reset, in whatever phase it is, and all others go on.
func TestKill(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		w, s := oneSlot(t, engine)
		client := w.dial()
		backend := s.accept()
		victim, other := w.dial(), w.dial()
		w.session(victim, frontend.PhaseQueued)
		w.session(other, frontend.PhaseQueued)
		if n := w.killAll(victim); n != 1 {
			t.Errorf("killed %d, want 1", n)
		}
		expectReset(t, victim)
		w.wantEnd(frontend.Killed, "KQ")

		w.session(client, frontend.PhaseRelaying)
		if n := w.killAll(client); n != 1 {
			t.Errorf("killed %d, want 1", n)
		}
		expectReset(t, client)
		expectClosed(t, backend)
		w.wantEnd(frontend.Killed, "KD")
		backend = s.accept() // the slot is the other's now

		w.session(other, frontend.PhaseRelaying)
		other.CloseWrite()
		expectEnd(t, backend)
		w.session(other, frontend.PhaseHalfClosed)
		if n := w.killAll(victim, client, other); n != 1 {
			t.Errorf("killed %d, want 1", n)
		}
		expectReset(t, other)
		w.wantEnd(frontend.Killed, "KL")
		if n := w.killAll(victim, client, other); n != 0 {
			t.Errorf("killed %d of those who are gone", n)
		}
		if got := w.b.Counters("f").Of(frontend.Killed); got != 3 {
			t.Errorf("%d counted as killed, want 3", got)
		}
	})
}

// What is killed by filter is exactly what matches, of many.
func TestKillMany(t *testing.T) {
	const clients = 300
	everyEngine(t, func(t *testing.T, engine string) {
		g := newGauge(t)
		w := startWeir(t, engine, "", g.to(clients)+noProbes)
		var odd, even []net.Conn
		for range clients / 2 {
			odd, even = append(odd, w.visitor()), append(even, w.visitor())
		}
		if n := len(w.sessions(frontend.Inspect{})); n != clients {
			t.Fatalf("%d sessions, want %d", n, clients)
		}
		if n := w.killAll(odd...); n != len(odd) {
			t.Errorf("killed %d, want %d", n, len(odd))
		}
		for _, c := range odd {
			expectReset(t, c)
			w.wantEnd(frontend.Killed, "KD")
		}
		for _, c := range even {
			w.leave(c.(*net.TCPConn))
		}
	})
}

// Why tells what the next session gets.
func TestWhyIsWhatHappens(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		a, b := newGauge(t), newGauge(t)
		w := startWeir(t, engine, "strategy = \"two-choices\"", a.to(3)+b.to(3)+noProbes)
		for n := range 6 {
			r := backend.NewRequest(frontend.ClientAddress(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}).Addr())
			why := w.b.Pool("f").Why(&r)
			if why.Err != nil {
				t.Fatalf("session %d: %v", n, why.Err)
			}
			got := w.session(w.visitor(), frontend.PhaseRelaying)
			if got.Backend != why.Backend.Name() {
				t.Errorf("session %d: went to %s, foretold was %s: %s", n, got.Backend, why.Backend.Name(), why.Reason)
			}
		}
		r := backend.NewRequest(frontend.ClientAddress(nil).Addr())
		why := w.b.Pool("f").Why(&r)
		if got := fmt.Sprint(why.Err, why.Others[0].Cause, why.Others[1].Cause); got != fmt.Sprint(backend.ErrFull, "full", "full") {
			t.Errorf("when all are full: %s", got)
		}
		w.wantFull()
	})
}
