package rate

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// model is what Clients stands for, with a map that grows without bound and never forgets.
type model struct {
	max     int
	rate    float64
	burst   int
	clients map[netip.Addr]*modelled
}

type modelled struct {
	bucket tokens
	live   int
}

func (m *model) of(addr netip.Addr) *modelled {
	c := m.clients[addr]
	if c == nil {
		interval, burst := int64(float64(time.Second)/m.rate), int64(m.burst)
		c = &modelled{bucket: tokens{interval: interval, burst: burst, has: interval * burst}}
		m.clients[addr] = c
	}
	return c
}

func (m *model) open(c *modelled, now time.Duration) Verdict {
	if m.max > 0 && c.live >= m.max {
		return TooMany
	}
	if m.rate > 0 && !c.bucket.take(int64(now)) {
		return TooFast
	}
	c.live++
	return OK
}

// forgettable says that the client is as if it had never come.
func (m *model) forgettable(c *modelled, now time.Duration) bool {
	b := c.bucket
	return (m.max == 0 || c.live == 0) && (m.rate == 0 || b.has+int64(now)-b.last >= b.burst*b.interval)
}

// session is one that is open, in the model and in the table.
type session struct {
	of  *modelled
	ref Ref
}

// play runs random sessions of n clients against table and model. The table may judge one as shared
// only while there are size clients that cannot be forgotten; otherwise it must say what the model says.
func play(t *testing.T, seed uint64, o Options, n, steps int) (shared int) {
	r := rand.New(rand.NewPCG(seed, 1))
	m := &model{o.MaxSessions, o.Rate, o.Burst, map[netip.Addr]*modelled{}}
	all := m.of(netip.Addr{}) // who is judged as shared
	delete(m.clients, netip.Addr{})
	c := NewClients(o)
	var open []session
	var now time.Duration
	for step := range steps {
		now += time.Duration(r.Int64N(int64(20 * ms)))
		if r.IntN(2) == 0 && len(open) > 0 {
			i := r.IntN(len(open))
			open[i].of.live--
			c.Close(open[i].ref)
			open[i] = open[len(open)-1]
			open = open[:len(open)-1]
			continue
		}
		addr := netip.AddrFrom4([4]byte{10, 0, byte(r.IntN(n) >> 8), byte(r.IntN(n))})
		before := c.Stats().Shared
		ref, got := c.Open(addr, now)
		who := m.of(addr)
		if c.Stats().Shared > before {
			who, shared = all, shared+1
			if busy := m.busy(now); busy < o.Size {
				t.Fatalf("seed %d, step %d: judged as shared with %d clients to know, and room for %d", seed, step, busy, o.Size)
			}
		}
		want := m.open(who, now)
		if who == all && want != OK {
			want = TableFull
		}
		if got != want {
			t.Fatalf("seed %d, step %d: %s: got %q, want %q", seed, step, addr, got, want)
		}
		if got == OK {
			open = append(open, session{who, ref})
		}
	}
	return shared
}

func (m *model) busy(now time.Duration) (n int) {
	for _, c := range m.clients {
		if !m.forgettable(c, now) {
			n++
		}
	}
	return n
}

var kinds = map[string]Options{
	"sessions":          {MaxSessions: 3},
	"rate":              {Rate: 20, Burst: 4},
	"rate without rest": {Rate: 20, Burst: 1},
	"both":              {Rate: 20, Burst: 4, MaxSessions: 3},
}

func TestAsModelWithinTheBound(t *testing.T) {
	for name, o := range kinds {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(30) {
				o.Size = 256
				if shared := play(t, seed, o, 256, 3000); shared > 0 {
					t.Fatalf("seed %d: %d sessions judged as shared", seed, shared)
				}
			}
		})
	}
}

func TestAsModelBeyondTheBound(t *testing.T) {
	for name, o := range kinds {
		t.Run(name, func(t *testing.T) {
			shared := 0
			for seed := range uint64(100) {
				o.Size = 1 + int(seed%reach) // all within reach
				shared += play(t, seed, o, 40, 1000)
			}
			if shared == 0 {
				t.Error("the table was never full")
			}
		})
	}
}

func FuzzClients(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint8(2), uint8(0), uint8(40))
	f.Add(uint64(2), uint8(15), uint8(0), uint8(10), uint8(200))
	f.Fuzz(func(t *testing.T, seed uint64, size, sessions, rate, clients uint8) {
		o := Options{MaxSessions: int(sessions), Rate: []float64{0, 1, 10, 50, 100}[rate%5], Burst: 1 + int(rate/5), Size: 1 + int(size%reach)}
		if o.MaxSessions > 0 || o.Rate > 0 {
			play(t, seed, o, 1+int(clients), 300)
		}
	})
}
