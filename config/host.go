package config

import (
	"net/netip"
	"strings"
)

// hostFault objects to a host that is neither an IP nor a name that a resolver could know. It asks
// no resolver: a check must give the same answer on a machine without a network.
func hostFault(host string) *fault {
	if addr, err := netip.ParseAddr(host); err == nil && plausibleZone(addr.Zone()) {
		return nil
	}
	if plausibleName(host) {
		return nil
	}
	return &fault{quote(host) + " is neither an IP address nor a host name", ""}
}

// plausibleName tells whether a name keeps to RFC 1123 section 2.1, with the underscore that
// container networks use. A last label of digits only is a mistyped IP ("10.0.0.256"), which
// resolvers treat in surprising ways ("10.1" is 10.0.0.1).
func plausibleName(name string) bool {
	name = strings.TrimSuffix(name, ".")
	if len(name) == 0 || len(name) > 253 {
		return false
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if !plausibleLabel(label) {
			return false
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

func plausibleLabel(label string) bool {
	if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	return strings.IndexFunc(label, func(r rune) bool { return !isLabelRune(r) }) < 0
}

func isLabelRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}

// plausibleZone tells whether a zone could be an interface name. [netip.ParseAddr] takes any bytes
// there, escape sequences for terminals among them. No zone is plausible too.
func plausibleZone(zone string) bool {
	return strings.IndexFunc(zone, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`/[]"'\%`, r)
	}) < 0
}
