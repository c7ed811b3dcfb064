package backend

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestNewPoolWithoutSense(t *testing.T) {
	for _, c := range []struct {
		o    PoolOptions
		want string
	}{
		{PoolOptions{Strategy: "cyclic"}, "make pool: no backend"},
		{PoolOptions{Strategy: "astrology", Backends: []Options{{Name: "a"}}}, `make pool: unknown strategy "astrology"`},
	} {
		if _, err := NewPool(c.o); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// Who is picked, on a fresh pool, by a session that has failed elsewhere before.
func TestAcquire(t *testing.T) {
	for _, c := range []struct {
		name     string
		backends []string
		without  []string
		want     string // the next picks, or the error
		again    bool
	}{
		{"all in turn", []string{"a", "b", "c"}, nil, "a b c a", false},
		{"not the excluded", []string{"a", "b", "c"}, []string{"b"}, "a c a c", false},
		{"not the excluded, by weight", []string{"a", "b weight=3", "c"}, []string{"a", "c"}, "b b b", false},
		{"more excluded than fit in the request", []string{"a", "b", "c", "d", "e", "f", "g"},
			[]string{"a", "b", "c", "d", "e", "f"}, "g g", false},
		{"one excluded twice", []string{"a", "b"}, []string{"a", "a"}, "b b", false},
		{"again, when there is no other", []string{"a"}, []string{"a"}, "a a", true},
		{"again, when all were tried, but not the last", []string{"a", "b"}, []string{"a", "b"}, "a a a", true},
		{"again, rather than one that is down", []string{"a", "b down"}, []string{"a"}, "a a", true},
		{"nobody with weight 0", []string{"a", "b weight=0", "c"}, nil, "a c a c", false},
		{"only weight 0", []string{"a weight=0"}, nil, ErrNoBackend.Error(), false},
		{"nobody disabled", []string{"a disabled", "b"}, nil, "b b", false},
		{"only disabled", []string{"a disabled", "b disabled backup"}, nil, ErrNoBackend.Error(), false},
		{"nobody down", []string{"a", "b down"}, nil, "a a", false},
		{"all down", []string{"a down", "b down", "c backup down"}, nil, ErrNoBackend.Error(), false},
		{"no backup while there is another", []string{"x backup", "a", "b"}, nil, "a b a", false},
		{"a backup when all others are down", []string{"a down", "x backup", "y backup"}, nil, "x y x", false},
		{"a backup when all others are disabled or drained", []string{"a disabled", "b weight=0", "x backup"}, nil, "x x", false},
		{"a backup when all others were tried", []string{"a", "b", "x backup"}, []string{"a", "b"}, "x x", false},
		{"a backup when those not down were tried", []string{"a", "b down", "x backup"}, []string{"a"}, "x x", false},
		{"no backup while one is untried", []string{"a", "b", "x backup"}, []string{"a"}, "b b", false},
		{"again, when the backup was tried too", []string{"a", "x backup"}, []string{"a", "x"}, "a a", true},
		{"again on a backup, when there is nothing else", []string{"a down", "x backup"}, []string{"x"}, "x x", true},
		{"only backups", []string{"x backup", "y backup"}, nil, "x y x", false},
		{"a backup that is down helps nobody", []string{"a", "x backup down"}, []string{"a"}, "a a", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := set(t, PoolOptions{}, c.backends...)
			var got []string
			for range strings.Fields(c.want) {
				l, again, err := s.Acquire(s.request(c.without...))
				if err != nil {
					got = []string{err.Error()}
					break
				}
				if again != c.again {
					t.Errorf("%s: got again %v, want %v", l.Backend().Name(), again, c.again)
				}
				got = append(got, l.Backend().Name())
				l.Release()
			}
			want(t, "picks", strings.Join(got, " "), c.want)
		})
	}
}

// At the limit of those that serve there is no backend free, not even a backup: a backup is for
// when they are gone, not for when they are busy.
func TestAcquireAtLimits(t *testing.T) {
	for _, c := range []struct {
		name     string
		backends []string
		without  []string
		want     string // who is picked until there is an error, and that
	}{
		{"each to its limit", []string{"a max=1", "b max=3", "c max=2"}, nil, "a b c b c b: full"},
		{"no limit", []string{"a max=1", "b"}, nil, "a b b b b b b b b b"},
		{"no backup for the busy", []string{"a max=1", "x backup"}, nil, "a: full"},
		{"nor when all the untried are busy", []string{"a max=1", "b max=1", "x backup"}, []string{"b"}, "a b: full"},
		{"the backups have limits too", []string{"a down", "x backup max=1", "y backup max=1"}, nil, "x y: full"},
		{"tried ones when the others are full", []string{"a max=2", "b max=1"}, []string{"a"}, "b a a: full"},
		{"none usable is not full", []string{"a max=1 down"}, nil, ": none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := set(t, PoolOptions{}, c.backends...)
			var got []string
			end := ""
			for range 10 {
				l, _, err := s.Acquire(s.request(c.without...))
				if err != nil {
					end = map[error]string{ErrFull: ": full", ErrNoBackend: ": none"}[err]
					break
				}
				got = append(got, l.Backend().Name())
			}
			want(t, "picks", strings.Join(got, " ")+end, c.want)
		})
	}
}

// A session that has failed everywhere begins a new round with a pick that counts as again, and is not
// sent back to where it failed last while there is another.
func TestAcquireGoesRound(t *testing.T) {
	for _, c := range []struct{ strategy, want string }{
		{"cyclic", "a b c again a b again c a again b"},
		{"first", "a b c again a b again a c again a"},
		{"least-connections", "a b c again a b again c a again b"},
	} {
		s := set(t, PoolOptions{Strategy: c.strategy}, "a", "b", "c")
		r := s.request()
		var got []string
		for range 8 {
			l, again, err := s.Acquire(r)
			if err != nil {
				t.Fatal(err)
			}
			if again {
				got = append(got, "again")
			}
			got = append(got, l.Backend().Name())
			r.Exclude(l.Backend())
			l.Failed(FailureRefused)
		}
		want(t, c.strategy, strings.Join(got, " "), c.want)
	}
}

// With two backends that means in turns, whatever the strategy likes best.
func TestAcquireInTurnsWhenBothFail(t *testing.T) {
	for _, strategy := range strategies {
		s := set(t, PoolOptions{Strategy: strategy}, "a", "b")
		r := s.request()
		last := ""
		for range 8 {
			l, _, err := s.Acquire(r)
			if err != nil {
				t.Fatal(err)
			}
			name := l.Backend().Name()
			if name == last {
				t.Errorf("%s: %s is tried twice in a row, want the other one", strategy, name)
			}
			last = name
			r.Exclude(l.Backend())
			l.Failed(FailureRefused)
		}
	}
}

func TestLease(t *testing.T) {
	s := set(t, PoolOptions{Passive: PassiveOptions{Failures: 1}}, "a max=2")
	first, second := s.take(), s.take()
	if got := s.Snapshot()[0].Active; got != 2 {
		t.Fatalf("got %d active, want 2", got)
	}
	first.Connected(1)
	for range 3 {
		first.Release()
		if got := s.Snapshot()[0].Active; got != 1 {
			t.Fatalf("after Release: got %d active, want 1", got)
		}
	}
	if first.Backend() != nil {
		t.Errorf("a released lease names %s, want no backend", first.Backend().Name())
	}
	second.Failed(FailureCanceled)
	second.Release()
	if got := s.Snapshot()[0]; got.Active != 0 || got.Totals.Sessions != 2 || got.Totals.Failed[FailureCanceled] != 1 {
		t.Errorf("got %d active, totals %+v, want 0 active, 2 sessions, 1 canceled", got.Active, got.Totals)
	}
	var never Lease
	never.Release()
	if third := s.take(); third.Backend() == nil {
		t.Error("no backend after the release of all")
	}
}

// Many goroutines take and give back at random, on every strategy, and each counts for itself.
func TestAcquireNeverPassesALimit(t *testing.T) {
	const goroutines, rounds = 8, 3000
	for _, strategy := range strategies {
		t.Run(strategy, func(t *testing.T) {
			p, err := NewPool(PoolOptions{Strategy: strategy, Backends: []Options{
				{Name: "a", Weight: 1, Up: true, MaxConnections: 1},
				{Name: "b", Weight: 5, Up: true, MaxConnections: 2},
				{Name: "c", Weight: 1, Up: true, MaxConnections: 7},
				{Name: "x", Weight: 1, Up: true, MaxConnections: 3, Backup: BackupWhenDown},
			}, Passive: PassiveOptions{Failures: 20, Window: 1e9, EjectFor: 1e6, MaxEjected: 75}})
			if err != nil {
				t.Fatal(err)
			}
			c := &counter{pool: p, most: map[*Backend]int32{}, now: map[*Backend]*atomic.Int32{}}
			for i, b := range p.Backends() {
				c.most[b], c.now[b] = []int32{1, 2, 7, 3}[i], new(atomic.Int32)
			}
			var all sync.WaitGroup
			for g := range goroutines {
				all.Go(func() { c.work(t, rand.New(rand.NewPCG(uint64(g), 1)), rounds) })
			}
			all.Wait()
			for _, s := range p.Snapshot() {
				if s.Active != 0 {
					t.Errorf("%s: %d active at the end, want 0", s.Backend.Name(), s.Active)
				}
			}
			if c.leases.Load() == 0 || c.full.Load() == 0 {
				t.Errorf("%d leases, %d times full: want some of both", c.leases.Load(), c.full.Load())
			}
		})
	}
}

// counter knows better than the pool how many leases there are of each backend.
type counter struct {
	pool         *Pool
	most         map[*Backend]int32
	now          map[*Backend]*atomic.Int32
	leases, full atomic.Int64
}

func (c *counter) work(t *testing.T, r *rand.Rand, rounds int) {
	var held []Lease
	for range rounds {
		switch r.IntN(8) {
		case 0, 1, 2, 3:
			held = c.take(t, r, held)
		case 4, 5, 6:
			held = c.give(r, held)
		case 7:
			c.pool.SetUp(c.pool.Backends()[r.IntN(3)], r.IntN(4) > 0, "a whim")
		}
	}
	for len(held) > 0 {
		held = c.give(r, held)
	}
}

func (c *counter) take(t *testing.T, r *rand.Rand, held []Lease) []Lease {
	q := NewRequest(netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(256))}))
	q.Now = c.pool.Since()
	for range r.IntN(3) {
		q.Exclude(c.pool.Backends()[r.IntN(4)])
	}
	l, _, err := c.pool.Acquire(&q)
	if err != nil {
		if errors.Is(err, ErrFull) {
			c.full.Add(1)
		}
		return held
	}
	c.leases.Add(1)
	if n, most := c.now[l.Backend()].Add(1), c.most[l.Backend()]; n > most {
		t.Errorf("%s serves %d, want at most %d", l.Backend().Name(), n, most)
	}
	return append(held, l)
}

func (c *counter) give(r *rand.Rand, held []Lease) []Lease {
	if len(held) == 0 {
		return held
	}
	k := r.IntN(len(held))
	l := held[k]
	c.now[l.Backend()].Add(-1)
	switch r.IntN(4) {
	case 0:
		l.Failed(FailureRefused)
	case 1:
		l.Connected(1)
		fallthrough
	default:
		l.Release()
	}
	return slices.Delete(held, k, k+1)
}

// Against a plain model: a full pool is full exactly when every usable backend that may be asked is
// at its limit, whatever happened before.
func TestAcquireAgainstModel(t *testing.T) {
	for _, strategy := range strategies {
		t.Run(strategy, func(t *testing.T) {
			s := set(t, PoolOptions{Strategy: strategy}, "a max=1", "b max=2 weight=4", "c max=3", "d weight=0", "x backup max=2")
			r := rand.New(rand.NewPCG(3, 4))
			var held []Lease
			for range 20000 {
				switch r.IntN(5) {
				case 0:
					s.SetUp(s.all[r.IntN(len(s.all))], r.IntN(3) > 0, "a whim")
				case 1, 2:
					if len(held) > 0 {
						k := r.IntN(len(held))
						held[k].Release()
						held = slices.Delete(held, k, k+1)
					}
				default:
					held = s.acquireLikeModel(r, held)
				}
			}
		})
	}
}

func (s *stage) acquireLikeModel(r *rand.Rand, held []Lease) []Lease {
	q := s.request()
	for range r.IntN(4) {
		q.Exclude(s.all[r.IntN(len(s.all))])
	}
	free, again, wantErr := s.model(slices.Clone(q.tried))
	l, gotAgain, err := s.Acquire(q)
	if err != wantErr || err == nil && (gotAgain != again || !slices.Contains(free, l.Backend())) {
		s.t.Fatalf("Acquire: got %v again %v, %v; want one of %v again %v, %v",
			l.Backend(), gotAgain, err, free, again, wantErr)
	}
	if err != nil {
		return held
	}
	return append(held, l)
}

// model says who may be picked, in the plainest way.
func (s *stage) model(tried []*Backend) (free []*Backend, again bool, err error) {
	usable := func(backup bool, not []*Backend) (list []*Backend) {
		for _, b := range s.all {
			if (b.opts.Backup != NoBackup) == backup && b.health.Up && b.opts.Weight > 0 && !slices.Contains(not, b) {
				list = append(list, b)
			}
		}
		return list
	}
	notFull := func(list []*Backend) (free []*Backend) {
		for _, b := range list {
			if b.max == 0 || b.active < b.max {
				free = append(free, b)
			}
		}
		return free
	}
	ask := func(not []*Backend) []*Backend {
		if serving := usable(false, not); len(serving) > 0 {
			return notFull(serving)
		}
		return notFull(usable(true, not))
	}
	if free = ask(tried); len(free) > 0 {
		return free, false, nil
	}
	if free = ask(nil); len(free) > 0 {
		return free, true, nil
	}
	if len(usable(false, nil))+len(usable(true, nil)) == 0 {
		return nil, false, ErrNoBackend
	}
	return nil, false, ErrFull
}

func TestAcquireAllocatesNothing(t *testing.T) {
	for _, strategy := range strategies {
		s := set(t, PoolOptions{Strategy: strategy}, many(20, "max=5")...)
		tried := s.take()
		s.take("b3", "b4", "b5") // the first makes room for what was tried
		r := NewRequest(someone)
		got := testing.AllocsPerRun(1000, func() {
			s.now++
			r = NewRequest(someone)
			r.Now = s.now
			r.Exclude(tried.Backend())
			l, _, err := s.Acquire(&r)
			if err != nil {
				t.Fatal(err)
			}
			l.Connected(1)
			l.Release()
		})
		if got != 0 {
			t.Errorf("%s: got %v allocations a session, want 0", strategy, got)
		}
	}
}

// The same client gets the same backend through source-hash, whether it comes by IPv4 or by its
// mapped form, and a unix client (without address) is served too.
func TestRequestKey(t *testing.T) {
	s := set(t, PoolOptions{Strategy: "source-hash"}, many(50, "")...)
	pick := func(a netip.Addr) string {
		r := NewRequest(a)
		l, _, err := s.Acquire(&r)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release()
		return l.Backend().Name()
	}
	seen := map[string]bool{}
	for i := range 200 {
		text := fmt.Sprintf("10.1.2.%d", i)
		a, mapped := netip.MustParseAddr(text), netip.MustParseAddr("::ffff:"+text)
		want(t, mapped.String(), pick(mapped), pick(a))
		seen[pick(a)] = true
	}
	if len(seen) < 40 {
		t.Errorf("200 clients met %d backends of 50, want most", len(seen))
	}
	pick(netip.Addr{})
}
