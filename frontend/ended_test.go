package frontend

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"weir/backend"
)

// settled ends a session that began a second before.
func settled(f *Frontend, client string, e Ending) uint64 {
	var s Session
	var q Quest
	began := time.Unix(1000, 0)
	f.Begin(&s, &q, netip.MustParseAddrPort(client), Admitted{}, began)
	e.At = began.Add(time.Second)
	s.Settle(e)
	return s.id
}

func poolOf(t testing.TB, o backend.PoolOptions) *backend.Pool {
	t.Helper()
	o.Strategy = "first"
	o.Backends = []backend.Options{{Name: "b", Network: "tcp", Address: "127.0.0.1:1", Weight: 1, Up: true, MaxConnections: 1}}
	p, err := backend.NewPool(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func framed(t testing.TB, e *Ended) *Frontend {
	return New(Options{Name: "f", Pool: poolOf(t, backend.PoolOptions{}), Ended: e})
}

func listed(e *Ended) string {
	var list []string
	e.All(func(p *Past) bool { list = append(list, fmt.Sprint(p.BytesUp)); return true })
	return strings.Join(list, " ")
}

func TestEndedKeepsTheLast(t *testing.T) {
	e := NewEnded(3)
	f := framed(t, e)
	var ids []uint64
	for n, want := range []string{"", "0", "1 0", "2 1 0", "3 2 1", "4 3 2"} {
		if got := listed(e); got != want {
			t.Errorf("after %d: %q, want %q", n, got, want)
		}
		for k, id := range ids {
			if p, ok := e.Find(id); ok != (n-k <= 3) || ok && p.BytesUp != int64(k) {
				t.Errorf("after %d: session %d found: %v, %+v", n, k, ok, p)
			}
		}
		ids = append(ids, settled(f, "192.0.2.1:5", Ending{BytesUp: int64(n)}))
	}
	if _, ok := e.Find(0); ok {
		t.Error("found session 0, which nobody is")
	}
	told := 0
	e.All(func(*Past) bool { told++; return false })
	if told != 1 {
		t.Errorf("told of %d after having had enough", told)
	}
}

func TestEndedTellsAll(t *testing.T) {
	e := NewEnded(1)
	f := framed(t, e)
	oh := errors.New("oh")
	var s Session
	var q Quest
	began := time.Unix(1000, 0)
	f.Begin(&s, &q, netip.MustParseAddrPort("192.0.2.1:5"), Admitted{}, began)
	b, _, err := s.Choose(began.Add(time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	s.Connected(2*time.Millisecond, nil)
	s.Release()
	s.Settle(Ending{Outcome: Killed, Err: oh, Phase: Relaying, BytesUp: 3, BytesDown: 4, At: began.Add(time.Second)})
	got, ok := e.Find(s.id)
	want := Past{
		ID: s.id, Frontend: "f", Client: netip.MustParseAddrPort("192.0.2.1:5"), Backend: b.Name(), Ended: began.Add(time.Second),
		Waited: time.Millisecond, Connect: 2 * time.Millisecond, Total: time.Second, BytesUp: 3, BytesDown: 4, Tries: 1,
		Outcome: Killed, Code: "KD", Err: oh,
	}
	if !ok || *got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Who was held up on its way to the ring, until others had gone all around it, comes too late.
func TestEndedLapped(t *testing.T) {
	e := NewEnded(2)
	f := framed(t, e)
	id := settled(f, "192.0.2.1:5", Ending{BytesUp: 1})
	settled(f, "192.0.2.1:5", Ending{BytesUp: 2})
	e.at(1).number = 3
	e.next.Store(0)
	settled(f, "192.0.2.1:5", Ending{BytesUp: 9})
	if p, ok := e.Find(id); !ok || p.BytesUp != 1 {
		t.Errorf("found %+v, want what came later", p)
	}
}

// A session is told of once, though its log panics.
func TestEndedOnce(t *testing.T) {
	e := NewEnded(5)
	f := framed(t, e)
	var s Session
	f.Begin(&s, new(Quest), netip.AddrPort{}, Admitted{}, time.Now())
	s.Settle(Ending{Outcome: Normal})
	s.Settle(Ending{Outcome: InternalError})
	if got := listed(e); got != "0" {
		t.Errorf("kept %q, want one", got)
	}
	if n := f.counters.Length.Snapshot().Count; n != 1 {
		t.Errorf("%d lengths, want 1", n)
	}
}

func TestNoEnded(t *testing.T) {
	settled(framed(t, nil), "192.0.2.1:5", Ending{})
	var none *Ended
	none.All(func(*Past) bool { t.Error("told of a session"); return true })
	if _, ok := none.Find(1); ok {
		t.Error("found a session")
	}
}

func TestEndedConcurrently(t *testing.T) {
	e := NewEnded(10)
	f := framed(t, e)
	var g sync.WaitGroup
	for range 4 {
		g.Go(func() {
			for n := range 1000 {
				id := settled(f, "192.0.2.1:5", Ending{BytesUp: int64(n), BytesDown: int64(n)})
				if p, ok := e.Find(id); ok && p.ID != id {
					t.Errorf("found %d, want %d", p.ID, id)
				}
				e.All(func(p *Past) bool {
					if p.BytesUp != p.BytesDown {
						t.Error("half of one session, half of another")
					}
					return true
				})
			}
		})
	}
	g.Wait()
	if n := len(strings.Fields(listed(e))); n != 10 {
		t.Errorf("%d are kept, want 10", n)
	}
}

func TestEndedSize(t *testing.T) {
	size := unsafe.Sizeof(slot{}) * EndedSize
	t.Logf("%d bytes a session, %d in all", unsafe.Sizeof(slot{}), size)
	if size > 1_800_000 {
		t.Errorf("%d bytes, and the comment says 1.8 MB", size)
	}
}

// What a session costs to count, time and keep.
func TestSettleAllocatesNothing(t *testing.T) {
	f := framed(t, NewEnded(100))
	var s Session
	var q Quest
	now := time.Now()
	n := testing.AllocsPerRun(1000, func() {
		f.Begin(&s, &q, netip.AddrPort{}, Admitted{}, now)
		s.Settle(Ending{Outcome: Normal, At: now})
	})
	if n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
	runtime.KeepAlive(f)
}

func TestDurations(t *testing.T) {
	f := New(Options{Name: "f", Pool: poolOf(t, backend.PoolOptions{Queue: backend.QueueOptions{Size: 9}})})
	at := func(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }
	begin := func(ms int) (*Session, *Quest) {
		s, q := new(Session), new(Quest)
		q.OnWake(func() {})
		f.Begin(s, q, netip.AddrPort{}, Admitted{}, at(ms))
		return s, q
	}
	one, _ := begin(0)
	if _, _, err := one.Choose(at(0)); err != nil { // at once: no wait
		t.Fatal(err)
	}
	one.Connected(3*time.Millisecond, nil)
	two, _ := begin(0)
	if _, _, err := two.Choose(at(10)); err != backend.ErrQueued {
		t.Fatal(err)
	}
	if _, _, err := two.Claim(at(15)); err != backend.ErrQueued { // woken for nothing: the wait goes on
		t.Fatal(err)
	}
	three, q := begin(0)
	if _, _, err := three.Choose(at(20)); err != backend.ErrQueued {
		t.Fatal(err)
	}
	three.Leave(at(120)) // in vain
	three.Settle(Ending{Outcome: QueueTimeout, At: at(120)})
	q.queued = at(121)                                       // a panic left it so
	f.Begin(three, q, netip.AddrPort{}, Admitted{}, at(130)) // used again, and it never waits
	three.Leave(at(131))
	three.Settle(Ending{Outcome: ClientLeft, At: at(131)})
	one.Release()
	if _, _, err := two.Claim(at(40)); err != nil {
		t.Fatal(err)
	}
	two.Connected(4*time.Millisecond, nil)
	two.Release()
	two.Settle(Ending{Outcome: Normal, At: at(50)})
	one.Settle(Ending{Outcome: Normal, At: at(60)})
	f.turnAway(netip.AddrPort{}, at(70), Denied)
	c := f.Counters()
	for _, h := range []struct {
		what  string
		count uint64
		sum   time.Duration
		got   func() (uint64, time.Duration)
	}{
		{"connect", 2, 7 * time.Millisecond, func() (uint64, time.Duration) { s := c.Connect.Snapshot(); return s.Count, s.Sum }},
		{"queue wait", 2, 130 * time.Millisecond, func() (uint64, time.Duration) { s := c.QueueWait.Snapshot(); return s.Count, s.Sum }},
		{"length", 4, 231 * time.Millisecond, func() (uint64, time.Duration) { s := c.Length.Snapshot(); return s.Count, s.Sum }},
	} {
		if count, sum := h.got(); count != h.count || sum != h.sum {
			t.Errorf("%s: %d in %v, want %d in %v", h.what, count, sum, h.count, h.sum)
		}
	}
}

func BenchmarkEnded(b *testing.B) {
	e := NewEnded(EndedSize)
	s := &Session{frontend: framed(b, nil), accepted: time.Now()}
	end := &Ending{Outcome: Normal, At: time.Now()}
	b.Run("add", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.id++
			e.add(s, end)
		}
	})
	b.Run("find", func(b *testing.B) {
		for b.Loop() {
			if _, ok := e.Find(1 << 60); ok {
				b.Fatal()
			}
		}
	})
}

// BenchmarkSettle is what the end of a session costs, without a log.
func BenchmarkSettle(b *testing.B) {
	for _, e := range []*Ended{nil, NewEnded(EndedSize)} {
		b.Run(fmt.Sprintf("kept=%v", e != nil), func(b *testing.B) {
			s := &Session{frontend: framed(b, e), accepted: time.Now()}
			end := Ending{Outcome: Normal, At: s.accepted.Add(time.Second)}
			b.ReportAllocs()
			for b.Loop() {
				s.settled = false
				s.Settle(end)
			}
		})
	}
}
