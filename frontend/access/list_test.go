package access

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
)

func prefixes(t testing.TB, texts ...string) []netip.Prefix {
	t.Helper()
	list := []netip.Prefix{}
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

func TestAllowed(t *testing.T) {
	type list = []string
	for _, test := range []struct {
		name        string
		allow, deny list // nil: no such list
		yes, no     list
	}{
		{"neither", nil, nil, list{"10.0.0.1", "::1"}, nil},
		{"allow closes the rest", list{"10.0.0.0/8"}, nil, list{"10.0.0.0", "10.255.255.255"}, list{"9.255.255.255", "11.0.0.0", "::1"}},
		{"an empty allow list lets nobody in", list{}, nil, nil, list{"10.0.0.1", "::", "::1"}},
		{"deny leaves the rest open", nil, list{"10.0.0.0/8"}, list{"11.0.0.0", "::1"}, list{"10.1.2.3"}},
		{"an empty deny list", nil, list{}, list{"10.0.0.1", "::1"}, nil},
		{"both: no match is refused", list{"10.0.0.0/8"}, list{"10.1.0.0/16"}, list{"10.2.0.0"}, list{"10.1.0.0", "12.0.0.1", "::1"}},
		{"longest wins: allow in deny in allow", list{"10.0.0.0/8", "10.1.1.0/24"}, list{"10.1.0.0/16"}, list{"10.0.0.1", "10.1.1.1"}, list{"10.1.2.1"}},
		{"longest wins: allow in deny of all", list{"10.1.1.1/32"}, list{"0.0.0.0/0", "::/0"}, list{"10.1.1.1"}, list{"10.1.1.2", "::1"}},
		{"deny wins a tie", list{"10.0.0.0/8", "::/0"}, list{"10.0.0.0/8", "::/0"}, nil, list{"10.0.0.1", "::1"}},
		{"a tie with different host bits", list{"10.0.0.1/8"}, list{"10.0.0.2/8"}, nil, list{"10.0.0.1", "10.0.0.2"}},
		{"all of IPv4 is not IPv6", list{"0.0.0.0/0"}, nil, list{"1.2.3.4", "::ffff:1.2.3.4"}, list{"::1", "::1.2.3.4"}},
		{"all of IPv6 is not IPv4, mapped or not", list{"::/0"}, nil, list{"::1", "::"}, list{"1.2.3.4", "::ffff:1.2.3.4"}},
		{"mapped prefix", list{"::ffff:10.0.0.0/104"}, nil, list{"10.9.9.9", "::ffff:10.9.9.9"}, list{"11.0.0.0", "::ffff:11.0.0.0"}},
		{"mapped prefix of all IPv4", nil, list{"::ffff:0.0.0.0/96"}, list{"::1"}, list{"1.2.3.4", "::ffff:1.2.3.4"}},
		{"mapped prefix ties with the plain one", list{"::ffff:10.0.0.0/104"}, list{"10.0.0.0/8"}, nil, list{"10.0.0.1"}},
		{"zones do not matter", list{"fe80::/10"}, list{"fe80::1/128"}, list{"fe80::2%eth0"}, list{"fe80::1%eth0", "fe80::1", "::ffff:1.2.3.4%eth0"}},
		{"one address", list{"2001:db8::1/128", "10.0.0.1/32"}, nil, list{"2001:db8::1", "10.0.0.1"}, list{"2001:db8::2", "10.0.0.0"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var allow, deny []netip.Prefix
			if test.allow != nil {
				allow = prefixes(t, test.allow...)
			}
			if test.deny != nil {
				deny = prefixes(t, test.deny...)
			}
			l := New(allow, deny)
			for want, addrs := range map[bool]list{true: test.yes, false: test.no} {
				for _, addr := range addrs {
					if got := l.Allowed(netip.MustParseAddr(addr)); got != want {
						t.Errorf("%s: got %v, want %v", addr, got, want)
					}
				}
			}
			if !l.Allowed(netip.Addr{}) {
				t.Error("a client on a unix socket is refused")
			}
		})
	}
}

func TestInvalidPrefixMatchesNobody(t *testing.T) {
	l := New([]netip.Prefix{{}, netip.PrefixFrom(netip.MustParseAddr("10.0.0.0"), 33)}, nil)
	if l.Allowed(netip.MustParseAddr("10.0.0.0")) {
		t.Error("let in by a prefix that is not valid")
	}
}

// searched is what List stands for, by looking at every prefix.
func searched(allow, deny []netip.Prefix, addr netip.Addr) bool {
	addr = addr.WithZone("").Unmap()
	longest, allowed := -1, allow == nil
	for _, p := range allow {
		if p = plain(p); p.Contains(addr) && p.Bits() > longest {
			longest, allowed = p.Bits(), true
		}
	}
	for _, p := range deny {
		if p = plain(p); p.Contains(addr) && p.Bits() >= longest {
			longest, allowed = p.Bits(), false
		}
	}
	return allowed
}

// few draws from so few bits that prefixes nest and tie, and addresses meet them.
func few(r *rand.Rand) netip.Addr {
	b := [16]byte{0: 0x20, 1: byte(r.IntN(2)), 7: byte(r.IntN(2)), 8: byte(r.IntN(4)) << 6, 15: byte(r.IntN(4))}
	switch r.IntN(3) {
	case 0:
		return netip.AddrFrom4([4]byte{b[1], b[7], b[8], b[15]})
	case 1:
		return netip.AddrFrom16(netip.AddrFrom4([4]byte{b[1], b[7], b[8], b[15]}).As16())
	}
	return netip.AddrFrom16(b).WithZone([]string{"", "eth0"}[r.IntN(2)])
}

func fewPrefixes(r *rand.Rand, n int) []netip.Prefix {
	if n == 0 {
		return nil
	}
	list := make([]netip.Prefix, n)
	for i := range list {
		addr := few(r).WithZone("")
		list[i] = netip.PrefixFrom(addr, r.IntN(addr.BitLen()+1))
	}
	return list
}

func TestAllowedAsLinearSearch(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		allow, deny := fewPrefixes(r, r.IntN(40)), fewPrefixes(r, r.IntN(40))
		l := New(allow, deny)
		for range 200 {
			addr := few(r)
			if got, want := l.Allowed(addr), searched(allow, deny, addr); got != want {
				t.Fatalf("seed %d: %s: got %v, want %v\nallow %v\ndeny %v", seed, addr, got, want, allow, deny)
			}
		}
	}
}

// many gives n prefixes, longer than those of countries and networks, so that look-ups go deep.
func many(r *rand.Rand, n int, ipv6 bool) []netip.Prefix {
	list := make([]netip.Prefix, n)
	for i := range list {
		list[i] = netip.PrefixFrom(anywhere(r, ipv6), 16+r.IntN(17))
		if ipv6 {
			list[i] = netip.PrefixFrom(anywhere(r, ipv6), 29+r.IntN(100))
		}
	}
	return list
}

// anywhere is an address; of IPv6, one in 2000::/8.
func anywhere(r *rand.Rand, ipv6 bool) netip.Addr {
	var b [16]byte
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	if b[0] = 0x20; ipv6 {
		return netip.AddrFrom16(b)
	}
	return netip.AddrFrom4([4]byte(b[4:]))
}

func TestAllowedAsLinearSearchAmongMany(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	allow, deny := append(many(r, 500, false), many(r, 500, true)...), append(many(r, 500, false), many(r, 500, true)...)
	l := New(allow, deny)
	for i := range 2000 {
		addr := anywhere(r, i%2 == 0)
		if i%4 > 1 { // inside some prefix, near its edge
			addr = allow[r.IntN(len(allow))].Masked().Addr().Prev().Next()
		}
		if got, want := l.Allowed(addr), searched(allow, deny, addr); got != want {
			t.Fatalf("%s: got %v, want %v", addr, got, want)
		}
	}
}

func TestAllowedAllocatesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	l := New(many(r, 1000, true), nil)
	addr := anywhere(r, true).WithZone("eth0")
	if got := testing.AllocsPerRun(100, func() { l.Allowed(addr) }); got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}

func BenchmarkAllowed(b *testing.B) {
	for _, ipv6 := range []bool{false, true} {
		for _, n := range []int{10, 1000, 100_000} {
			b.Run(fmt.Sprintf("IPv%d/%d", map[bool]int{false: 4, true: 6}[ipv6], n), func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 2))
				allow := many(r, n, ipv6)
				before := heap()
				l := New(allow, nil)
				size := heap() - before
				addrs := addresses(r, allow)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					l.Allowed(addrs[i%len(addrs)])
				}
				b.ReportMetric(float64(size)/float64(n), "B/prefix")
			})
		}
	}
}

// addresses gives addresses of which half are inside a prefix of the list.
func addresses(r *rand.Rand, list []netip.Prefix) []netip.Addr {
	addrs := make([]netip.Addr, 1<<14)
	for i := range addrs {
		addrs[i] = list[r.IntN(len(list))].Addr()
		if i%2 == 0 {
			addrs[i] = anywhere(r, addrs[i].Is6())
		}
	}
	return addrs
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
