package backend

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// words writes what Why tells of the others, as "b full 2 of 2, …".
func (w *Why) words() string {
	var list []string
	for _, n := range w.Others {
		line := n.Backend.id.Name + " " + string(n.Cause)
		if n.Detail != "" {
			line += ": " + n.Detail
		}
		list = append(list, line)
	}
	return strings.Join(list, "; ")
}

func (w *Why) name() string {
	if w.Backend == nil {
		return ""
	}
	return w.Backend.id.Name
}

func TestWhyOfEveryCause(t *testing.T) {
	s := set(t, PoolOptions{Strategy: "least-connections", Passive: PassiveOptions{Failures: 1, EjectFor: time.Minute, MaxEjected: 90}},
		"idle", "busy", "full max=1", "out", "gone", "weightless weight=0", "off disabled", "spare backup", "worked")
	s.take("idle", "full", "out", "gone", "worked")
	s.take("idle", "busy", "out", "gone", "worked")
	s.fail("out", 1, FailureRefused)
	s.SetUp(s.named("gone"), false, "no answer, 3 of 3")
	s.SetAdmin(s.named("worked"), AdminMaint, "maint by ops")
	before := s.states()
	w := s.Why(s.request())
	want(t, "backend", w.name(), "idle")
	if w.Err != nil {
		t.Errorf("got %v", w.Err)
	}
	want(t, "reason", w.Reason, "least-connections: 0 sessions at weight 1, not chosen yet")
	want(t, "others", w.words(), "busy another: 1 session at weight 1, last chosen 3 sessions ago; full full: 1 of 1; "+
		"out ejected: 1 connections failed within 0s, the last: refused; gone down: no answer, 3 of 3; "+
		"weightless drain: its weight is 0; off disabled: disabled in the configuration; "+
		"spare backup: a backup, and 3 others are usable; worked maint: maint by ops")
	for _, n := range w.Others {
		if isState := n.Cause == Cause(n.Backend.state()); isState == n.Since.IsZero() {
			t.Errorf("%s: %s since %v", n.Backend.id.Name, n.Cause, n.Since)
		}
		if left := time.Until(n.Until); (n.Cause == Cause(Ejected)) != (left > 50*time.Second && left <= time.Minute) {
			t.Errorf("%s: %s until %v", n.Backend.id.Name, n.Cause, n.Until)
		}
	}
	want(t, "states after Why", s.states(), before)
}

func TestWhyNothing(t *testing.T) {
	classes := []ClassOptions{{Name: "gold", Weight: 3, MaxConnections: 1, MaxQueued: 1}, {Name: "rest", Weight: 1}}
	for _, c := range []struct {
		name           string
		o              PoolOptions
		backends       string
		taken, waiting int // by class 0
		err            error
		reason, others string
	}{
		{"all down", PoolOptions{}, "a down", 0, 0, ErrNoBackend, "no backend is usable", "a down: not probed yet"},
		{"all full", PoolOptions{}, "a max=1", 1, 0, ErrFull, "every usable backend is at its limit", "a full: 1 of 1"},
		{"pool full", PoolOptions{MaxConnections: 1}, "a", 1, 0, ErrFull, "the pool is at its limit, 1 of 1",
			"a limit: the pool is at its limit, 1 of 1"},
		{"held", PoolOptions{Queue: QueueOptions{Size: 9, Hold: true}}, "a down", 0, 2, ErrQueued,
			"no backend is usable; it would wait, with 2 of its class and 2 in all before it", "a down: not probed yet"},
		{"not held", PoolOptions{Queue: QueueOptions{Size: 9}}, "a down", 0, 0, ErrNoBackend, "no backend is usable", "a down: not probed yet"},
		{"queue full", PoolOptions{Queue: QueueOptions{Size: 2}}, "a max=1", 1, 2, ErrQueueFull,
			"every usable backend is at its limit, and the queue is full: 2 of 2", "a full: 1 of 1"},
		{"class full", PoolOptions{Queue: QueueOptions{Size: 2, Classes: classes}}, "a", 1, 0, ErrQueued,
			"class gold is at its limit, 1 of 1; it would wait, with 0 of its class and 0 in all before it",
			"a limit: class gold is at its limit, 1 of 1"},
		{"class's queue full", PoolOptions{Queue: QueueOptions{Size: 2, Classes: classes}}, "a", 1, 1, ErrQueueFull,
			"class gold is at its limit, 1 of 1, and the queue is full: 1 of 1 for class gold",
			"a limit: class gold is at its limit, 1 of 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := set(t, c.o, c.backends)
			for range c.taken {
				s.take()
			}
			for range c.waiting {
				if _, _, err := s.Wait(s.request(), &Waiter{Wake: func() {}}); err != ErrQueued {
					t.Fatal(err)
				}
			}
			w := s.Why(s.request())
			if w.Backend != nil || !errors.Is(w.Err, c.err) {
				t.Errorf("got %q and %v, want %v", w.name(), w.Err, c.err)
			}
			want(t, "reason", w.Reason, c.reason)
			want(t, "others", w.words(), c.others)
			if w.Active != c.taken || w.Queued != c.waiting || w.Class.Queued != c.waiting || s.queue.length != c.waiting {
				t.Errorf("active %d, queued %d and %d in the class, then %d", w.Active, w.Queued, w.Class.Queued, s.queue.length)
			}
			if n := s.queue.refused; n != 0 {
				t.Errorf("%d counted as refused, and nobody asked", n)
			}
		})
	}
}

func TestWhyShare(t *testing.T) {
	s := set(t, PoolOptions{Queue: QueueOptions{Size: 1, Classes: []ClassOptions{
		{Name: "gold", Weight: 3}, {Name: "rest", Weight: 1}, {Name: "nobody", Weight: 4}}}}, "a")
	gold, rest := s.request(), s.request()
	rest.Class = 1
	if got := s.Why(gold).Class; got.Share != 1 || got.Name != "gold" || got.Weight != 3 {
		t.Errorf("alone: %+v, want all of gold's", got)
	}
	if _, _, err := s.Acquire(rest); err != nil {
		t.Fatal(err)
	}
	if got := s.Why(gold).Class.Share; got != 0.75 {
		t.Errorf("beside the rest: %v, want 0.75", got)
	}
	if got := s.Why(rest).Class; got.Share != 1 || got.Active != 1 {
		t.Errorf("the rest: %+v, want all, with 1 active", got)
	}
}

// Whatever the state of the pool: what Why tells is what Wait then does.
func TestWhyForetellsWait(t *testing.T) {
	for _, name := range strategies {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(10) {
				foretellWait(t, name, rand.New(rand.NewPCG(seed, 3)))
			}
		})
	}
}

func foretellWait(t *testing.T, name string, random *rand.Rand) {
	t.Helper()
	s := set(t, PoolOptions{Strategy: name, MaxConnections: 25, SlowStart: time.Minute,
		Passive: PassiveOptions{Failures: 2, Window: time.Second, EjectFor: 10 * time.Second, MaxEjected: 90},
		Queue: QueueOptions{Size: 5, Hold: random.IntN(2) > 0, Classes: []ClassOptions{
			{Name: "x", Weight: 1, MaxConnections: 15}, {Name: "y", Weight: 2, MaxQueued: 3}}}},
		"a max=5", "b weight=3 max=20", "c", "d max=1", "e backup", "f backup max=3", "g weight=0")
	var leases []Lease
	var waiters []*Waiter
	for range 3000 {
		s.now += time.Duration(random.Int64N(int64(time.Second)))
		switch random.IntN(6) {
		case 0:
			s.SetUp(s.all[random.IntN(len(s.all))], random.IntN(3) > 0, "so it is")
		case 1:
			for range min(len(leases), 4) {
				k := random.IntN(len(leases))
				if random.IntN(3) == 0 {
					leases[k].Failed(FailureRefused)
				} else {
					leases[k].Release()
				}
				leases = append(leases[:k], leases[k+1:]...)
			}
		case 2:
			for _, w := range waiters {
				s.Leave(w)
			}
			waiters = nil
		default:
			r := NewRequest(netip.AddrFrom4([4]byte{10, 0, 0, byte(random.IntN(50))}))
			r.Now, r.Class = s.now, random.IntN(2)
			why := s.Why(&r)
			w := &Waiter{Wake: func() {}}
			l, again, err := s.Wait(&r, w)
			if err != why.Err || l.Backend() != why.Backend || again {
				t.Fatalf("foretold %v and %q, got %v and %v", why.Err, why.name(), err, l.Backend())
			}
			if told := len(why.Others); why.Backend == nil && told != len(s.all) || why.Backend != nil && told != len(s.all)-1 {
				t.Fatalf("told of %d others", told)
			}
			if err == nil {
				leases = append(leases, l)
			} else if err == ErrQueued {
				waiters = append(waiters, w)
			}
		}
	}
}

// Of a great many it tells what the strategy goes by only for the first: the lock is held meanwhile.
func TestWhyOfManyIsBounded(t *testing.T) {
	s := set(t, PoolOptions{Strategy: "source-hash"}, many(2*standingsTold, "")...)
	told := 0
	w := s.Why(s.request())
	for _, n := range w.Others {
		if n.Cause != CauseAnother {
			t.Fatalf("%s: %s", n.Backend.id.Name, n.Cause)
		}
		if n.Detail != "" {
			told++
		}
	}
	if told != standingsTold-1 {
		t.Errorf("told of %d, want %d", told, standingsTold-1)
	}
}

func BenchmarkWhy(b *testing.B) {
	for _, name := range strategies {
		for _, n := range []int{10, 10000} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				s := set(b, PoolOptions{Strategy: name}, many(n, "")...)
				r := s.request()
				for b.Loop() {
					s.Why(r)
				}
			})
		}
	}
}
