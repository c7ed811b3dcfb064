package backend

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// strategies are the canonical names of all strategies.
var strategies = []string{"cyclic", "least-connections", "two-choices", "source-hash", "first", "least-latency"}

// stage is a pool with a clock that the test winds, and what the pool told of itself.
type stage struct {
	*Pool
	t      testing.TB
	now    time.Duration
	events []Event
}

// set builds a stage. Each backend is a line of words: its name, then what is not as usual, as in
// "a max=2 weight=3 backup disabled down".
func set(t testing.TB, o PoolOptions, backends ...string) *stage {
	t.Helper()
	s := &stage{t: t}
	if o.Strategy == "" {
		o.Strategy = "cyclic"
	}
	o.Clock = func() time.Duration { return s.now }
	o.After = func(time.Duration, func()) {} // the clock is wound by hand
	o.Random = rand.New(rand.NewPCG(1, 2)).Uint64
	o.Notify = func(e Event) { s.events = append(s.events, e) }
	for _, line := range backends {
		o.Backends = append(o.Backends, parse(t, line))
	}
	p, err := NewPool(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Pool = p
	return s
}

func parse(t testing.TB, line string) Options {
	t.Helper()
	words := strings.Fields(line)
	o := Options{Name: words[0], Network: "tcp", Address: words[0] + ":1", Weight: 1, Up: true}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "max":
			fmt.Sscan(value, &o.MaxConnections)
		case "weight":
			fmt.Sscan(value, &o.Weight)
		case "at":
			o.Address = value
		case "backup":
			o.Backup = BackupWhenDown
			if value == "full" {
				o.Backup = BackupWhenFull
			}
		case "disabled":
			o.Disabled = true
		case "down":
			o.Up = false
		default:
			t.Fatalf("what is %q?", word)
		}
	}
	return o
}

// many is n backends alike.
func many(n int, words string) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("b%d %s", i, words)
	}
	return list
}

// named returns the backend of that name.
func (s *stage) named(name string) *Backend {
	s.t.Helper()
	for _, b := range s.all {
		if b.id.Name == name {
			return b
		}
	}
	s.t.Fatalf("no backend %q", name)
	return nil
}

// someone is a client.
var someone = netip.MustParseAddr("192.0.2.1")

// request asks now, and not for the backends of those names.
func (s *stage) request(without ...string) *Request {
	s.t.Helper()
	r := NewRequest(someone)
	r.Now = s.now
	for _, name := range without {
		r.Exclude(s.named(name))
	}
	return &r
}

// take acquires a lease that must be there.
func (s *stage) take(without ...string) Lease {
	s.t.Helper()
	l, _, err := s.Acquire(s.request(without...))
	if err != nil {
		s.t.Fatalf("Acquire without %v: %v", without, err)
	}
	return l
}

// picks acquires n times and gives each back, and returns the names.
func (s *stage) picks(n int, without ...string) string {
	s.t.Helper()
	var names []string
	for range n {
		l := s.take(without...)
		names = append(names, l.Backend().Name())
		l.Release()
	}
	return strings.Join(names, " ")
}

// fail lets n connections to the backend of that name fail.
func (s *stage) fail(name string, n int, f Failure) {
	s.t.Helper()
	var others []string
	for _, b := range s.all {
		if b.id.Name != name {
			others = append(others, b.id.Name)
		}
	}
	for range n {
		l, _, err := s.Acquire(s.request(others...))
		if err != nil || l.Backend().Name() != name {
			s.t.Fatalf("Acquire of %s: got %v, %v", name, l.Backend(), err)
		}
		l.Failed(f)
	}
}

// states is the state of every backend, in order.
func (s *stage) states() string {
	var list []string
	for _, b := range s.Snapshot() {
		list = append(list, string(b.State))
	}
	return strings.Join(list, " ")
}

// told returns what the pool has told since told was asked last, as "a up>down 1/2".
func (s *stage) told() string {
	var list []string
	for _, e := range s.events {
		if e.Drained {
			list = append(list, fmt.Sprintf("%s %s 0 left", e.Backend.Name(), e.From))
			continue
		}
		list = append(list, fmt.Sprintf("%s %s>%s %d/%d", e.Backend.Name(), e.From, e.To, e.Usable, e.Total))
	}
	s.events = nil
	return strings.Join(list, ", ")
}

func want(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}
