package rate

import (
	"net/netip"
	"testing"
	"time"
)

// desk is a table under test, with refs by client.
type desk struct {
	*testing.T
	*Clients
	refs map[string][]Ref
}

func newDesk(t *testing.T, o Options) *desk {
	return &desk{t, NewClients(o), map[string][]Ref{}}
}

func (d *desk) open(addr string, now time.Duration, want Verdict) {
	d.Helper()
	a, _ := netip.ParseAddr(addr) // "" is a unix socket
	ref, got := d.Open(a, now)
	if got != want {
		d.Fatalf("%s opens at %v: got %q, want %q", addr, now, got, want)
	}
	if got == OK {
		d.refs[addr] = append(d.refs[addr], ref)
	}
}

func (d *desk) close(addr string) {
	d.Helper()
	list := d.refs[addr]
	d.Close(list[0])
	d.refs[addr] = list[1:]
}

func (d *desk) known(want int) {
	d.Helper()
	if got := d.Stats().Known; got != want {
		d.Fatalf("%d clients are known, want %d", got, want)
	}
}

func TestSessionsOfOneClient(t *testing.T) {
	d := newDesk(t, Options{MaxSessions: 2})
	d.open("10.0.0.1", 0, OK)
	d.open("10.0.0.1", 0, OK)
	d.open("10.0.0.1", 0, TooMany)
	d.open("10.0.0.2", 0, OK)
	d.close("10.0.0.1")
	d.open("10.0.0.1", 0, OK)
	d.open("10.0.0.1", 0, TooMany)
	d.known(2)
	for _, addr := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.1"} {
		d.close(addr)
	}
	d.known(0)
}

func TestRateOfOneClient(t *testing.T) {
	d := newDesk(t, Options{Rate: 10, Burst: 2})
	d.open("10.0.0.1", 0, OK)
	d.open("10.0.0.1", 0, OK)
	d.open("10.0.0.1", 0, TooFast)
	d.open("10.0.0.2", 0, OK)
	d.open("10.0.0.1", 99*ms, TooFast)
	d.open("10.0.0.1", 100*ms, OK)
	for _, ref := range d.refs["10.0.0.1"] {
		if ref != 0 {
			t.Error("a session was counted without a limit on them")
		}
	}
}

func TestBothLimits(t *testing.T) {
	d := newDesk(t, Options{Rate: 10, Burst: 3, MaxSessions: 2})
	d.open("10.0.0.1", 0, OK)
	d.open("10.0.0.1", 0, OK)
	d.open("10.0.0.1", 0, TooMany) // costs no token
	d.close("10.0.0.1")
	d.open("10.0.0.1", 0, OK)
	d.close("10.0.0.1")
	d.open("10.0.0.1", 0, TooFast) // takes no slot
	d.open("10.0.0.1", 100*ms, OK)
	d.open("10.0.0.1", 200*ms, TooMany)
}

func TestWhoIsOneClient(t *testing.T) {
	for _, test := range []struct {
		name       string
		ipv4, ipv6 int
		a, b       string
		same       bool
	}{
		{"two of IPv4", 0, 0, "10.0.0.1", "10.0.0.2", false},
		{"a /24", 24, 0, "10.0.0.1", "10.0.0.255", true},
		{"two /24", 24, 0, "10.0.0.255", "10.0.1.0", false},
		{"mapped is IPv4", 0, 0, "10.0.0.1", "::ffff:10.0.0.1", true},
		{"mapped is IPv4, in a /24", 24, 0, "10.0.0.1", "::ffff:10.0.0.2", true},
		{"two mapped ones are not one /64", 0, 0, "::ffff:10.0.0.1", "::ffff:10.0.0.2", false},
		{"a /64", 0, 0, "2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true},
		{"two /64", 0, 0, "2001:db8::1", "2001:db8:0:1::1", false},
		{"a /48", 0, 48, "2001:db8::1", "2001:db8:0:1::1", true},
		{"two of IPv6", 0, 128, "2001:db8::1", "2001:db8::2", false},
		{"zones", 0, 128, "fe80::1%eth0", "fe80::1%eth1", true},
		{"all zero", 0, 0, "0.0.0.0", "::", false},
		{"more bits than there are", 99, 999, "10.0.0.1", "10.0.0.2", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDesk(t, Options{MaxSessions: 1, IPv4Bits: test.ipv4, IPv6Bits: test.ipv6})
			d.open(test.a, 0, OK)
			d.open(test.b, 0, map[bool]Verdict{true: TooMany, false: OK}[test.same])
		})
	}
}

func TestUnixClientIsNotLimited(t *testing.T) {
	d := newDesk(t, Options{MaxSessions: 1, Rate: 1})
	for range 3 {
		d.open("", 0, OK)
	}
	d.close("")
	d.known(0)
}

func TestNoLimits(t *testing.T) {
	d := newDesk(t, Options{Burst: 5, Size: 10})
	if d.Clients != nil {
		t.Fatal("got a table that limits nothing")
	}
	d.open("10.0.0.1", 0, OK)
	d.close("10.0.0.1")
	d.known(0)
}

func TestCloseTwiceDoesNotGoBelowZero(t *testing.T) {
	for _, o := range []Options{{MaxSessions: 1}, {MaxSessions: 1, Rate: 1e9}} {
		d := newDesk(t, o)
		ref, _ := d.Open(netip.MustParseAddr("10.0.0.1"), 0)
		d.Close(ref)
		d.Close(ref)
		d.open("10.0.0.1", 1, OK)
		d.open("10.0.0.1", 1, TooMany)
		d.known(1)
	}
}

func TestFullTable(t *testing.T) {
	d := newDesk(t, Options{Rate: 10, Burst: 2, MaxSessions: 2, Size: 2})
	d.open("10.0.0.1", 0, OK)
	d.open("10.0.0.2", 0, OK)
	d.open("10.0.0.3", 0, OK) // as shared: two sessions, two at once
	d.open("10.0.0.4", 0, OK)
	d.open("10.0.0.5", 0, TableFull)
	d.open("10.0.0.2", 0, OK) // known clients do not notice
	d.open("10.0.0.2", 0, TooMany)
	d.close("10.0.0.3")
	d.open("10.0.0.5", 99*ms, TableFull)
	d.open("10.0.0.5", 100*ms, OK)

	d.close("10.0.0.1")
	d.open("10.0.0.6", 99*ms, TableFull) // 10.0.0.1 has no session, but its bucket is not full
	d.open("10.0.0.6", 100*ms, OK)       // now it is forgotten
	d.open("10.0.0.1", 500*ms, TableFull)
	d.open("10.0.0.6", 500*ms, OK)
	d.open("10.0.0.6", 500*ms, TooMany)
	d.known(2)
	d.close("10.0.0.4") // counted as shared, and given back there
	d.open("10.0.0.1", 500*ms, OK)
	d.open("10.0.0.1", 500*ms, TableFull)
	if got := d.Stats().Shared; got != 9 {
		t.Errorf("got %d sessions judged as shared, want 9", got)
	}
}

// A client in the way, whose bucket fills late, does not hide those behind it.
func TestForgetsBehindABusyClient(t *testing.T) {
	d := newDesk(t, Options{Rate: 1, Burst: 100, Size: 2 * reach})
	addr := netip.MustParseAddr("10.0.0.1")
	for range reach {
		for range 50 {
			d.open(addr.String(), 0, OK)
		}
		addr = addr.Next()
	}
	for range reach {
		d.open(addr.String(), 0, OK)
		addr = addr.Next()
	}
	before := d.Stats().Shared
	d.open(addr.String(), time.Second, OK) // looks at the first, which are busy
	d.open(addr.String(), time.Second, OK)
	if got := d.Stats().Shared - before; got != 1 {
		t.Errorf("got %d sessions judged as shared, want 1", got)
	}
}

func TestShare(t *testing.T) {
	for size, want := range map[int][2]int{
		1: {1, 1}, 4096: {1, 4096}, 8191: {1, 8191}, 8192: {2, 4096 + 384}, 65536: {16, 4096 + 384}, 1 << 20: {256, 4096 + 384}, 1 << 28: {1024, 1<<18 + 3072},
	} {
		if shards, each := share(size); shards != want[0] || each != want[1] {
			t.Errorf("%d: got %d parts of %d, want %v", size, shards, each, want)
		}
	}
}
