package backend

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// hopeful is a session that asked for a backend.
type hopeful struct {
	Waiter
	request Request
	class   int
	woken   int
	got     Lease
	err     error // of the last answer
}

// ask lets a client of that class ask.
func (s *stage) ask(class int, client netip.Addr) *hopeful {
	h := &hopeful{request: NewRequest(client), class: class}
	h.request.Class = class
	h.Wake = func() { h.woken++ }
	s.askAgain(h)
	return h
}

func (s *stage) askAgain(h *hopeful) {
	h.request.Now = s.now
	h.got, _, h.err = s.Wait(&h.request, &h.Waiter)
}

// hear takes what h was granted, if it was woken.
func (s *stage) hear(h *hopeful) {
	if h.woken == 0 || h.err != ErrQueued {
		return
	}
	h.woken = 0
	h.got, _, h.err = s.Claim(&h.Waiter)
}

func (h *hopeful) served() bool { return h.err == nil && h.got.Backend() != nil }

// active is how many sessions each class has.
func (s *stage) active() string {
	var list []int
	for _, c := range s.QueueSnapshot().Classes {
		list = append(list, c.Active)
	}
	return fmt.Sprint(list)
}

func classes(weights ...int) (list []ClassOptions) {
	for i, w := range weights {
		list = append(list, ClassOptions{Name: fmt.Sprint(i), Weight: w})
	}
	return list
}

// First come is first served, and a slot goes on in the step that gives it back.
func TestQueueIsFIFO(t *testing.T) {
	s := set(t, PoolOptions{Queue: QueueOptions{Size: 10}}, "a max=1")
	held := s.take()
	var line []*hopeful
	for range 3 {
		line = append(line, s.ask(0, someone))
	}
	for i, h := range line {
		if h.err != ErrQueued {
			t.Fatalf("session %d: got %v, want %v", i, h.err, ErrQueued)
		}
		held.Release()
		if got := s.Snapshot()[0].Active; got != 1 {
			t.Errorf("after session %d: %d slots used, want 1", i, got)
		}
		for j, other := range line {
			if want := j <= i; (other.woken > 0 || other.served()) != want {
				t.Errorf("after %d slots became free: session %d served: %t, want %t", i+1, j, !want, want)
			}
		}
		s.hear(h)
		held = h.got
	}
	held.Release()
	if got := s.Snapshot()[0].Active; got != 0 {
		t.Errorf("%d slots used in the end, want 0", got)
	}
}

func TestQueueIsBounded(t *testing.T) {
	o := QueueOptions{Size: 3, Classes: []ClassOptions{{Name: "a", Weight: 1, MaxQueued: 1}, {Name: "b", Weight: 1}}}
	s := set(t, PoolOptions{Queue: o}, "a max=1")
	s.take()
	for i, c := range []struct {
		class int
		want  error
	}{{0, ErrQueued}, {0, ErrQueueFull}, {1, ErrQueued}, {1, ErrQueued}, {1, ErrQueueFull}} {
		if h := s.ask(c.class, someone); h.err != c.want {
			t.Errorf("session %d, of class %d: got %v, want %v", i, c.class, h.err, c.want)
		}
	}
	if got := s.QueueSnapshot(); got.Length != 3 || got.Refused != 2 {
		t.Errorf("%d wait and %d were refused, want 3 and 2", got.Length, got.Refused)
	}
}

// Without a queue nobody waits.
func TestNoQueue(t *testing.T) {
	s := set(t, PoolOptions{MaxConnections: 1}, "a", "b")
	s.take()
	if h := s.ask(0, someone); h.err != ErrFull {
		t.Errorf("got %v, want %v", h.err, ErrFull)
	}
}

func TestPoolLimit(t *testing.T) {
	s := set(t, PoolOptions{MaxConnections: 2}, "a", "b", "c")
	first := s.take()
	s.take()
	if _, _, err := s.Acquire(s.request()); err != ErrFull {
		t.Errorf("above the pool's limit: got %v, want %v", err, ErrFull)
	}
	first.Release()
	s.take()
}

// A lower limit lets the surplus finish; a higher one serves those who wait at once.
func TestLimitsChange(t *testing.T) {
	s := set(t, PoolOptions{MaxConnections: 4, Queue: QueueOptions{Size: 10}}, "a max=4")
	limit := func(pool, a int) {
		s.reload(PoolOptions{MaxConnections: pool, Queue: QueueOptions{Size: 10}}, fmt.Sprint("a max=", a))
	}
	var open []Lease
	for range 4 {
		open = append(open, s.take())
	}
	h := s.ask(0, someone)
	limit(2, 4)
	for i := range open {
		if i == 3 && h.woken == 0 {
			t.Error("below the limit nobody was served")
		}
		if i < 3 && h.woken > 0 {
			t.Errorf("served with %d sessions and a limit of 2", 4-i)
		}
		open[i].Release()
	}
	s.hear(h)
	waits := s.ask(0, someone)
	limit(2, 1)
	if waits.err == ErrQueued {
		t.Error("had to wait below both limits")
	}
	waits = s.ask(0, someone)
	if waits.err != ErrQueued {
		t.Fatalf("got %v above the backend's limit, want %v", waits.err, ErrQueued)
	}
	limit(0, 1)
	if waits.woken > 0 {
		t.Error("the backend's lower limit was passed")
	}
	limit(0, 0)
	if waits.woken == 0 {
		t.Error("a limit was lifted, and nobody was served")
	}
}

// Who leaves is forgotten: waiting, granted, or neither.
func TestLeave(t *testing.T) {
	s := set(t, PoolOptions{Queue: QueueOptions{Size: 10, FairByClient: true}}, "a max=1")
	held := s.take()
	first, second, third := s.ask(0, someone), s.ask(0, someone), s.ask(0, someone)
	s.Leave(&first.Waiter)
	s.Leave(&first.Waiter)
	held.Release()
	if first.woken > 0 || second.woken == 0 {
		t.Fatalf("woken: who left %d times, who is next %d times", first.woken, second.woken)
	}
	s.Leave(&second.Waiter) // it was granted a slot, and has not claimed it
	if third.woken == 0 {
		t.Fatal("a slot that was granted to one who left went to nobody")
	}
	if _, _, err := s.Claim(&second.Waiter); err != nil {
		t.Fatal(err)
	}
	s.hear(third)
	third.got.Release()
	if got := s.QueueSnapshot(); got.Length != 0 || got.Classes[0].Active != 0 || len(s.queue.classes[0].clients) != 0 {
		t.Errorf("in the end: %+v, and %d clients remembered", got, len(s.queue.classes[0].clients))
	}
}

// A session whose backend could not be reached waits before those who came later.
func TestRetryKeepsItsPlace(t *testing.T) {
	s := set(t, PoolOptions{Queue: QueueOptions{Size: 10}}, "a max=1")
	held := s.take()
	first, second, third := s.ask(0, someone), s.ask(0, someone), s.ask(0, someone)
	held.Release()
	s.hear(first)
	first.got.Failed(FailureTimeout) // the slot goes to the second
	s.askAgain(first)
	s.hear(second)
	second.got.Release()
	if first.woken != 1 || third.woken != 0 {
		t.Errorf("woken: who came first %d times, who came third %d times", first.woken, third.woken)
	}
}

func TestDownEndsTheWait(t *testing.T) {
	for _, hold := range []bool{false, true} {
		t.Run(fmt.Sprintf("hold=%t", hold), func(t *testing.T) {
			s := set(t, PoolOptions{Queue: QueueOptions{Size: 10, Hold: hold}}, "a max=1")
			held := s.take()
			h := s.ask(0, someone)
			s.SetUp(s.named("a"), false, "test")
			s.hear(h)
			late := s.ask(0, someone)
			if !hold {
				if h.err != ErrNoBackend || late.err != ErrNoBackend {
					t.Errorf("got %v for who waited and %v for who came later, want %v", h.err, late.err, ErrNoBackend)
				}
				return
			}
			if h.err != ErrQueued || late.err != ErrQueued {
				t.Fatalf("got %v and %v, want %v", h.err, late.err, ErrQueued)
			}
			s.SetUp(s.named("a"), true, "test")
			if h.woken > 0 {
				t.Error("served while the only slot was in use")
			}
			held.Release()
			if h.woken != 1 || late.woken != 0 {
				t.Errorf("woken: %d and %d, want 1 and 0", h.woken, late.woken)
			}
		})
	}
}

// Those who wait for an ejected backend are served when it returns, although nobody asks.
func TestEjectionEndsForThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := NewPool(PoolOptions{
			Strategy: "cyclic", Backends: []Options{{Name: "a", Weight: 1, Up: true}},
			Passive: PassiveOptions{Failures: 1, Window: time.Second, EjectFor: 10 * time.Second, MaxEjected: 100},
			Queue:   QueueOptions{Size: 1, Hold: true},
		})
		if err != nil {
			t.Fatal(err)
		}
		s := &stage{Pool: p, t: t}
		l := s.take()
		began := time.Now()
		l.Failed(FailureRefused)
		woken := make(chan struct{})
		h := &hopeful{request: NewRequest(someone), Waiter: Waiter{Wake: func() { close(woken) }}}
		s.now = p.Since()
		s.askAgain(h)
		<-woken
		if got := time.Since(began); got != 10*time.Second {
			t.Errorf("served after %v, want 10s", got)
		}
	})
}

// The vectors of weighted max-min fairness: capacity 100 and weights 1, 1, 2.
func TestShares(t *testing.T) {
	o := PoolOptions{MaxConnections: 100, Queue: QueueOptions{Size: 10000, Classes: classes(1, 1, 2)}}
	s := set(t, o, "a", "b")
	c := newCrowd(s, 0, 1, 2)
	c.churn(4000)
	want(t, "with demand everywhere", s.active(), "[25 25 50]")
	c.stop(2)
	c.churn(4000)
	want(t, "when the third has stopped", s.active(), "[50 50 0]")
	c.start(2)
	c.churn(4000)
	want(t, "when it is back", s.active(), "[25 25 50]")
	if c.idle > 0 {
		t.Errorf("%d times a slot was free while somebody waited", c.idle)
	}
}

// A class that came first and holds what it has gets no further slot while it has more than its share.
func TestHolderGetsNoMore(t *testing.T) {
	s := set(t, PoolOptions{MaxConnections: 100, Queue: QueueOptions{Size: 10000, Classes: classes(1, 1)}}, "a")
	for range 90 {
		s.ask(0, someone)
	}
	var others []*hopeful
	for range 10 {
		others = append(others, s.ask(1, someone))
	}
	for range 50 {
		s.ask(0, someone)
		others = append(others, s.ask(1, someone))
	}
	for _, h := range others[:50] {
		s.hear(h)
		h.got.Release()
		if got := s.active(); got != "[90 10]" {
			t.Fatalf("got %s, want [90 10]: the first holds its 90, and gets nothing", got)
		}
	}
}

// In a class that is fair by client, one that asks for much waits for those that ask for little.
func TestFairByClient(t *testing.T) {
	s := set(t, PoolOptions{MaxConnections: 4, Queue: QueueOptions{Size: 1000, FairByClient: true}}, "a")
	greedy, modest := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	var first []*hopeful
	for range 100 {
		first = append(first, s.ask(0, greedy))
	}
	second := []*hopeful{s.ask(0, modest), s.ask(0, modest), s.ask(0, modest)}
	first[0].got.Release()
	first[1].got.Release()
	if second[0].woken != 1 || second[1].woken != 1 || second[2].woken != 0 {
		t.Errorf("the modest client was served %d, %d and %d times, want 1, 1, 0: two slots each",
			second[0].woken, second[1].woken, second[2].woken)
	}
}

// A class at its own limit leaves what it could have to the others, and does not hold them up.
func TestClassLimit(t *testing.T) {
	o := classes(1, 1)
	o[0].MaxConnections = 2
	s := set(t, PoolOptions{MaxConnections: 4, Queue: QueueOptions{Size: 4, Classes: o}}, "a")
	for range 5 {
		s.ask(0, someone)
	}
	want(t, "one class wants 5 and may have 2", s.active(), "[2 0]")
	s.ask(1, someone)
	s.ask(1, someone)
	want(t, "the other wants 2", s.active(), "[2 2]")
}

// crowd is classes that each want more than there is.
type crowd struct {
	*stage
	wants   map[int]bool
	waiting []*hopeful
	serving []*hopeful
	random  *rand.Rand
	idle    int
}

func newCrowd(s *stage, classes ...int) *crowd {
	c := &crowd{stage: s, wants: make(map[int]bool), random: rand.New(rand.NewPCG(7, 7))}
	for _, class := range classes {
		c.start(class)
	}
	return c
}

func (c *crowd) start(class int) {
	c.wants[class] = true
	for range 200 {
		c.waiting = append(c.waiting, c.ask(class, someone))
	}
}

func (c *crowd) stop(class int) {
	c.wants[class] = false
	kept := c.waiting[:0]
	for _, h := range c.waiting {
		if h.class == class && h.err == ErrQueued && h.woken == 0 {
			c.Leave(&h.Waiter)
		} else {
			kept = append(kept, h)
		}
	}
	c.waiting = kept
}

// churn ends n sessions, one after the other, at random; each whose class still wants comes again.
func (c *crowd) churn(n int) {
	for range n {
		c.settleIn()
		i := c.random.IntN(len(c.serving))
		h := c.serving[i]
		c.serving[i] = c.serving[len(c.serving)-1]
		c.serving = c.serving[:len(c.serving)-1]
		h.got.Release()
		if q := c.QueueSnapshot(); q.Length > 0 && c.Pool.active < 100 {
			c.idle++
		}
		if c.wants[h.class] {
			c.waiting = append(c.waiting, c.ask(h.class, someone))
		}
	}
	c.settleIn()
}

// settleIn moves those who were served from one list to the other.
func (c *crowd) settleIn() {
	kept := c.waiting[:0]
	for _, h := range c.waiting {
		c.hear(h)
		if h.served() {
			c.serving = append(c.serving, h)
		} else {
			kept = append(kept, h)
		}
	}
	c.waiting = kept
}
