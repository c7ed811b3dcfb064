package reactor

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/backend"
	"weir/backend/sockopt"
	"weir/frontend"
	"weir/frontend/reactor/loop"
	"weir/frontend/relay"
)

// pairOfEnds is the two ends of one session: the client's and the backend's.
type pairOfEnds struct{ client, server int }

// open begins a session in which nothing is said.
func (r *raw) open(t testing.TB, weir []byte) pairOfEnds {
	t.Helper()
	client, errno := loop.Socket(unix.AF_INET)
	if errno != 0 {
		t.Fatal(errno)
	}
	loop.Connect(client, weir)
	r.wait(t, r.fd)
	server, errno := loop.Accept(r.fd, &r.sa)
	if errno != 0 {
		t.Fatal(errno)
	}
	return pairOfEnds{client, server}
}

func (p pairOfEnds) close() {
	loop.Close(p.client)
	loop.Close(p.server)
}

// until waits for something that has no event to wait for.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for late := time.After(20 * time.Second); !is(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// ids lists the sessions; meanwhile is called before each is looked at.
func ids(t testing.TB, s *Server, meanwhile func(told int)) (list []uint64) {
	t.Helper()
	err := s.Sessions(t.Context(), frontend.Inspect{}, func(i *frontend.Info) bool {
		meanwhile(len(list))
		list = append(list, i.ID)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// While sessions end and begin, whichever lives throughout is told of once.
func TestSessionsThatStayAreToldOnce(t *testing.T) {
	r := newRaw(t)
	at, s := serving(t, r.addr)
	weir := inetSockaddr(at)
	random := rand.New(rand.NewPCG(1, 2))
	var open []pairOfEnds
	for range 3 * atATime {
		open = append(open, r.open(t, weir))
	}
	for round := range 4 {
		before := ids(t, s, func(int) {})
		var stay []pairOfEnds
		opened := s.Counters().Opened.Load()
		told := ids(t, s, func(n int) {
			if n != round*atATime/2 {
				return
			}
			stay = nil
			for _, p := range open { // those that the loop has told of, those it has not, and the next
				if random.IntN(4) == 0 {
					p.close()
				} else {
					stay = append(stay, p)
				}
			}
			left := uint64(len(stay))
			until(t, "sessions to end", func() bool { return opened-s.Counters().Closed.Load() == left })
			for range 50 {
				stay = append(stay, r.open(t, weir))
			}
		})
		after := ids(t, s, func(int) {})
		for _, id := range after {
			if slices.Contains(before, id) && !slices.Contains(told, id) {
				t.Errorf("round %d: session %d stayed, and was not told of", round, id)
			}
		}
		slices.Sort(told)
		if n := len(told); n != len(slices.Compact(told)) {
			t.Errorf("round %d: some were told of twice", round)
		}
		if len(after) != len(stay) {
			t.Errorf("round %d: %d sessions, want %d", round, len(after), len(stay))
		}
		open = stay
	}
	for _, p := range open {
		p.close()
	}
}

// Who takes its time over what it is told holds nobody up: meanwhile the one loop serves others.
func TestSlowReaderStopsNoLoop(t *testing.T) {
	r := newRaw(t)
	at, s := serving(t, r.addr)
	weir := inetSockaddr(at)
	first := r.open(t, weir)
	defer first.close()
	told := 0
	err := s.Sessions(t.Context(), frontend.Inspect{TCP: true}, func(*frontend.Info) bool {
		told++
		r.session(t, weir)
		return true
	})
	if err != nil || told != 1 {
		t.Errorf("told of %d, and %v; want the one that was there", told, err)
	}
}

// cursorsLeft counts the cursors that nobody took out.
func cursorsLeft(t testing.TB, s *Server) (n int) {
	t.Helper()
	s.reactor.each(t.Context(), func(i int, _ *core) { n += len(s.ports[i].cursors) })
	return n
}

func TestWalkThatIsGivenUp(t *testing.T) {
	r := newRaw(t)
	at, s := serving(t, r.addr)
	one := r.open(t, inetSockaddr(at))
	defer one.close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	never := func(*frontend.Info) bool { t.Error("was told of a session"); return true }
	if err := s.Sessions(ended, frontend.Inspect{}, never); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	if n, err := s.Kill(ended, never, frontend.Killed); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %d killed, %v", n, err)
	}
	if err := s.Sessions(t.Context(), frontend.Inspect{}, func(*frontend.Info) bool { return false }); err != nil {
		t.Errorf("when the reader has enough: %v", err)
	}
	if n := cursorsLeft(t, s); n != 0 {
		t.Errorf("%d cursors are left", n)
	}
}

func TestWalkWhenTheLoopsHaveStopped(t *testing.T) {
	stock := relay.NewStock(0)
	defer stock.Close()
	r, err := New(1, stock, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	pool, err := backend.NewPool(backend.PoolOptions{Strategy: "first", Backends: []backend.Options{{Name: "b", Network: "tcp", Address: "127.0.0.1:1"}}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Open(t.Context(), frontend.Options{
		Bind: []frontend.Bind{{Network: "tcp4", Address: "127.0.0.1:0"}}, Pool: pool, Stock: stock,
		Rules: frontend.Rules{Dialer: backend.NewDialer(time.Second, sockopt.Options{}, nil)},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r.Start()
	r.Stop()
	if err := s.Sessions(t.Context(), frontend.Inspect{}, nil); !errors.Is(err, errStopped) {
		t.Errorf("got %v, want %v", err, errStopped)
	}
}

// A session that was used again for another client is not killed for the one before.
func TestKillSparesTheSuccessor(t *testing.T) {
	r := newRaw(t)
	at, s := serving(t, r.addr)
	weir := inetSockaddr(at)
	first := r.open(t, weir)
	var second pairOfEnds
	n, err := s.Kill(t.Context(), func(*frontend.Info) bool {
		first.close()
		until(t, "the session to end", func() bool { return s.Counters().Closed.Load() == 1 })
		second = r.open(t, weir)
		return true
	}, frontend.Killed)
	if n != 0 || err != nil {
		t.Errorf("killed %d, %v; want none", n, err)
	}
	defer second.close()
	if left := ids(t, s, func(int) {}); len(left) != 1 {
		t.Errorf("%d sessions, want the second", len(left))
	}
}

// parking keeps descriptors open without counting against the limit of this process: on their way through a
// socket that nobody reads.
type parking struct{ in, out int }

func newParking(t testing.TB) *parking {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return &parking{fds[0], fds[1]}
}

func (p *parking) park(t testing.TB, fds []int) {
	t.Helper()
	if err := unix.Sendmsg(p.in, []byte{1}, unix.UnixRights(fds...), nil, 0); err != nil {
		t.Skipf("cannot keep so many connections open here: %v", err)
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// crowded has as many live sessions as asked for, or as many as descriptors allow.
func crowded(t testing.TB, sessions int) *Server {
	t.Helper()
	var limit unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	sessions = min(sessions, (int(limit.Cur)-400)/2)
	r := newRaw(t)
	at, s := serving(t, r.addr)
	weir := inetSockaddr(at)
	var ends []int
	var p *parking
	for n := range sessions {
		if n%5000 == 0 { // what is on its way fills a socket's buffer
			p = newParking(t)
		}
		pair := r.open(t, weir)
		if ends = append(ends, pair.client, pair.server); len(ends) == 200 {
			p.park(t, ends)
			ends = ends[:0]
		}
	}
	t.Cleanup(func() {
		for _, fd := range ends {
			unix.Close(fd)
		}
	})
	t.Logf("%d sessions on one loop", sessions)
	return s
}

// BenchmarkSessions lists 10,000 live sessions of one loop, or as many as descriptors allow, and tells how long
// the loop was held at most.
func BenchmarkSessions(b *testing.B) {
	s := crowded(b, 10000)
	for _, c := range []struct {
		name string
		o    frontend.Inspect
	}{{"plain", frontend.Inspect{}}, {"tcp", frontend.Inspect{TCP: true}}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				s.Sessions(b.Context(), c.o, func(*frontend.Info) bool { n++; return true })
			}
			b.ReportMetric(float64(n)/float64(b.N), "sessions/op")
		})
		b.Run(c.name+"/held", func(b *testing.B) {
			var held, busy []time.Duration
			for b.Loop() {
				h, c := s.heldFor(b, c.o)
				held, busy = append(held, h...), append(busy, c...)
			}
			slices.Sort(held)
			b.ReportMetric(float64(slices.Max(busy).Microseconds()), "µs-cpu-most")
			b.ReportMetric(float64(held[len(held)-1].Microseconds()), "µs-held-most")
			b.ReportMetric(float64(held[len(held)*99/100].Microseconds()), "µs-held-p99")
			b.ReportMetric(float64(held[len(held)/2].Microseconds()), "µs-held-p50")
			b.ReportMetric(float64(len(held))/float64(b.N), "steps/op")
		})
	}
}

// BenchmarkKill kills sessions, and tells how long the loop was held at most.
func BenchmarkKill(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		s := crowded(b, 1000)
		b.StartTimer()
		n, err := s.Kill(b.Context(), func(*frontend.Info) bool { return true }, frontend.Killed)
		if n != 1000 || err != nil {
			b.Fatal(n, err)
		}
	}
}

// heldFor walks through all sessions and returns how long each step held the loop, and how much of that it was
// computing: on a busy machine others take the processor away.
func (s *Server) heldFor(t testing.TB, o frontend.Inspect) (list, cpu []time.Duration) {
	for _, p := range s.ports {
		w := p.newWalk(o)
		for more := true; more; more = w.more {
			var held, busy time.Duration
			err := w.on(t.Context(), func() {
				began, computed := time.Now(), threadTime()
				w.step()
				held, busy = time.Since(began), threadTime()-computed
			})
			if err != nil {
				t.Fatal(err)
			}
			list, cpu = append(list, held), append(cpu, busy)
		}
		w.leave()
	}
	return list, cpu
}

// threadTime is how long this thread has computed; a loop keeps its thread.
func threadTime() time.Duration {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return time.Duration(ts.Nano())
}
