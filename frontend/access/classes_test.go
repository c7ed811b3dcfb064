package access

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

func TestClasses(t *testing.T) {
	c := NewClasses([][]netip.Prefix{
		prefixes(t, "10.0.0.0/8", "2001:db8::/32"),
		nil,
		prefixes(t, "10.1.0.0/16", "::ffff:10.2.0.0/112"),
		prefixes(t, "10.0.0.0/8", "0.0.0.0/0", "10.1.2.3/32"),
	})
	const none = -1
	for addr, want := range map[string]int{
		"10.0.0.1":         0, // twice, the first gets it
		"10.1.0.1":         2,
		"10.1.2.3":         3,
		"10.2.9.9":         2,
		"::ffff:10.1.0.1":  2,
		"11.0.0.1":         3,
		"2001:db8::1":      0,
		"2001:db8::1%eth0": 0,
		"2001:db9::1":      none,
		"":                 none, // a unix socket
	} {
		a, _ := netip.ParseAddr(addr)
		got, ok := c.Of(a)
		if !ok {
			got = none
		}
		if got != want {
			t.Errorf("%q: got class %d, want %d", addr, got, want)
		}
	}
	if _, ok := (*Classes)(nil).Of(netip.MustParseAddr("10.0.0.1")); ok {
		t.Error("nil classes have a member")
	}
}

// The clients of unix sockets are of one class, if any.
func TestClassOfUnixClients(t *testing.T) {
	c := NewClasses([][]netip.Prefix{prefixes(t, "0.0.0.0/0"), nil})
	c.HaveUnix(1)
	if got, ok := c.Of(netip.Addr{}); got != 1 || !ok {
		t.Errorf("got class %d, %v; want 1", got, ok)
	}
	if got, _ := c.Of(netip.MustParseAddr("10.0.0.1")); got != 0 {
		t.Errorf("a client of IPv4 is of class %d, want 0", got)
	}
}

func TestClassesAsLinearSearch(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		lists := make([][]netip.Prefix, r.IntN(6))
		for i := range lists {
			lists[i] = fewPrefixes(r, r.IntN(10))
		}
		c := NewClasses(lists)
		for range 200 {
			addr := few(r)
			got, gotOK := c.Of(addr)
			want, wantOK := searchedClass(lists, addr)
			if got != want || gotOK != wantOK {
				t.Fatalf("seed %d: %s: got %d %v, want %d %v\n%v", seed, addr, got, gotOK, want, wantOK, lists)
			}
		}
	}
}

func searchedClass(lists [][]netip.Prefix, addr netip.Addr) (class int, ok bool) {
	longest := -1
	for i, list := range lists {
		for _, p := range list {
			if p = plain(p); p.Contains(addr.WithZone("").Unmap()) && p.Bits() > longest {
				longest, class, ok = p.Bits(), i, true
			}
		}
	}
	return class, ok
}
