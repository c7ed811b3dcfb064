package config

import "net/netip"

// IP is an address of this host without a port: "10.0.0.1", "2001:db8::1" or "fe80::1%eth0".
type IP struct{ netip.Addr }

func parseIP(text string) (IP, *fault) {
	addr, err := netip.ParseAddr(text)
	if err == nil && plausibleZone(addr.Zone()) {
		return IP{addr}, nil
	}
	f := &fault{quote(text) + " is not an IP address", ""}
	if ap, err := netip.ParseAddrPort(text); err == nil {
		f.hint = didYouMean(ap.Addr().String())
	} else if text == "localhost" {
		f.hint = didYouMean("127.0.0.1")
	}
	return IP{}, f
}
