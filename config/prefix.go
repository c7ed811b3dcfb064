package config

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"strings"
)

// Prefix is a set of client addresses: "10.0.0.0/8", "2001:db8::/32", or one address alone. Never with
// bits set behind its length. IPv4 written as IPv6 (::ffff:10.0.0.0/104) is IPv4, as clients are. Or all clients of unix
// sockets, "unix", which have no address.
type Prefix struct {
	netip.Prefix
	Unix bool // then Prefix is not valid
}

// unixClients is how a file names the clients of unix sockets.
const unixClients = "unix"

// IsSet says whether it holds anybody.
func (p Prefix) IsSet() bool { return p.Unix || p.IsValid() }

// String gives the text of the file, of a prefix in its usual form.
func (p Prefix) String() string {
	if p.Unix {
		return unixClients
	}
	return p.Prefix.String()
}

// MarshalText gives [Prefix.String], for the effective configuration.
func (p Prefix) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

const prefixForms = `prefixes look like "10.0.0.0/8", "2001:db8::/32" or "192.0.2.1"`

func parsePrefix(text string) (Prefix, *fault) {
	if text == unixClients {
		return Prefix{Unix: true}, nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return Prefix{}, notPrefix(text)
		}
		p = netip.PrefixFrom(addr, addr.BitLen())
	}
	p = unmap(p)
	if masked := p.Masked(); masked != p {
		return Prefix{}, &fault{quote(text) + " has host bits set", didYouMean(masked.String())}
	}
	return Prefix{Prefix: p}, nil
}

// unmap leaves prefixes that are wider than all of IPv4: they are IPv6.
func unmap(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

func notPrefix(text string) *fault {
	f := &fault{quote(text) + " is neither a prefix nor an IP address", prefixForms}
	switch strings.ToLower(text) {
	case "all", "any", "*":
		f.hint = `all clients are "0.0.0.0/0" and "::/0"`
	}
	if p, ok := withNetmask(text); ok {
		f.hint = didYouMean(p.String())
	} else if ap, err := netip.ParseAddrPort(text); err == nil {
		f.hint = didYouMean(ap.Addr().WithZone("").String())
	}
	return f
}

// withNetmask reads 10.0.0.0/255.0.0.0, which other balancers take.
func withNetmask(text string) (p netip.Prefix, ok bool) {
	before, after, _ := strings.Cut(text, "/")
	addr, err1 := netip.ParseAddr(before)
	mask, err2 := netip.ParseAddr(after)
	if err1 != nil || err2 != nil || !addr.Is4() || !mask.Is4() {
		return p, false
	}
	four := mask.As4()
	zeros := ^binary.BigEndian.Uint32(four[:])
	return netip.PrefixFrom(addr, bits.LeadingZeros32(zeros)).Masked(), zeros&(zeros+1) == 0
}

// listedTwice reports prefixes that a list of the file has a second time, in whatever spelling.
func (v *validator) listedTwice(list []Prefix) {
	first := make(map[Prefix]*Prefix, len(list))
	for i := range list {
		p := &list[i]
		if other, taken := first[*p]; taken && p.IsSet() {
			v.wrong(p, func() *fault { return twice(v.nodes[p].text, v.where(v.nodes[other].offset)) })
			continue
		}
		first[*p] = p
	}
}

func twice(text, first string) *fault {
	return &fault{quote(text) + " is listed twice: first at " + first, ""}
}
