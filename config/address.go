package config

import (
	"errors"
	"net/netip"
	"path"
	"strconv"
	"strings"
)

// Address is where to listen or where to connect to, as the file says it: no name is resolved.
//
// localhost stays a name; net.Listen on it binds one address only, the IPv4 loopback on nearly
// every host, so whoever needs both families writes both.
type Address struct {
	Network string // "tcp" or "unix"
	// Address is host:port for tcp ([::1]:80, :80), a path or @name (abstract) for unix.
	Address string
}

// maxUnixPath is what fits into sun_path of 108 bytes with its closing zero (unix(7)).
const maxUnixPath = 107

// String gives the text of the file.
func (a Address) String() string {
	if a.Network == "unix" {
		return "unix:" + a.Address
	}
	return a.Address
}

// MarshalText gives [Address.String], for the effective configuration.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// Listen gives the arguments for net.Listen. They differ from the fields in one case: on network
// "tcp" Go opens 0.0.0.0 as a socket for IPv6 as well, wider than what the file asks for.
func (a Address) Listen() (network, address string) {
	if host, _ := a.hostPort(); host == "0.0.0.0" {
		return "tcp4", a.Address
	}
	return a.Network, a.Address
}

// Dial gives the arguments for net.Dial.
func (a Address) Dial() (network, address string) { return a.Network, a.Address }

// hostPort splits a tcp address that parseAddress made; "", 0 for others.
func (a Address) hostPort() (host string, port uint16) {
	colon := strings.LastIndexByte(a.Address, ':')
	if a.Network != "tcp" || colon < 0 {
		return "", 0
	}
	number, _ := strconv.ParseUint(a.Address[colon+1:], 10, 16)
	host = strings.TrimSuffix(strings.TrimPrefix(a.Address[:colon], "["), "]")
	return host, uint16(number)
}

func (a Address) isPortZero() bool {
	_, port := a.hostPort()
	return a.Network == "tcp" && port == 0
}

// listenFault objects to addresses that exist but cannot be listened on by weir.
func (a Address) listenFault() *fault {
	host, port := a.hostPort()
	if _, err := netip.ParseAddr(host); err == nil || host == "" || strings.EqualFold(host, "localhost") {
		return nil
	}
	if host == "*" {
		return &fault{quote(a.Address) + " has no IP address", didYouMean(":" + strconv.Itoa(int(port)))}
	}
	return &fault{quote(host) + " cannot be listened on", "listening addresses are IPs, localhost, or only :port"}
}

// dialFault objects to addresses that can be listened on but not connected to.
func (a Address) dialFault() *fault {
	if a.Network == "unix" {
		return nil
	}
	host, port := a.hostPort()
	if host == "" || host == "*" {
		return &fault{quote(a.Address) + " has no host", didYouMean("127.0.0.1:" + strconv.Itoa(int(port)))}
	}
	if port == 0 {
		return &fault{"port 0 cannot be connected to", "ports are 1 to 65535"}
	}
	return hostFault(host)
}

// ParseListen reads an address to listen on from elsewhere than a file, in the forms of bind_on.
func ParseListen(text string) (Address, error) {
	a, f := parseAddress(text)
	if f == nil {
		f = a.listenFault()
	}
	if f == nil {
		return a, nil
	}
	if f.hint == "" {
		return a, errors.New(f.message)
	}
	return a, errors.New(f.message + "; " + f.hint)
}

// parseAddress takes what bind_on and forward_to have in common.
func parseAddress(text string) (Address, *fault) {
	if before, after, found := strings.Cut(text, "://"); found {
		if before == "unix" {
			after = "unix:" + after
		}
		return Address{}, &fault{quote(text) + " is a URL, not an address", didYouMean(after)}
	}
	if strings.HasPrefix(text, "/") || strings.HasPrefix(text, "@") {
		return Address{}, &fault{quote(text) + " has no port", didYouMean("unix:" + text)}
	}
	if name, ok := strings.CutPrefix(text, "unix:"); ok {
		return Address{"unix", name}, unixFault(name)
	}
	return Address{"tcp", text}, tcpFault(text)
}

func unixFault(name string) *fault {
	switch {
	case name == "" || name == "@":
		return &fault{"the unix socket has no name", `unix sockets look like "unix:/run/db.sock" or "unix:@name"`}
	case name[0] != '/' && name[0] != '@':
		return &fault{"the path " + quote(name) + " is relative", didYouMean("unix:" + path.Join("/run", name))}
	case len(name) > maxUnixPath:
		return &fault{"the path has " + strconv.Itoa(len(name)) + " bytes", "unix sockets have room for " + strconv.Itoa(maxUnixPath)}
	}
	return unprintable("the path", name)
}

func tcpFault(text string) *fault {
	if text == "" {
		return &fault{"the address is empty", addressForms}
	}
	host, port, f := splitAddress(text)
	if f != nil {
		return f
	}
	if f := portFault(port); f != nil {
		return f
	}
	if host == "" || host == "*" {
		return nil
	}
	return hostFault(host)
}

const addressForms = `addresses look like "127.0.0.1:8080", "[::1]:8080" or "unix:/run/db.sock"`

func splitAddress(text string) (host, port string, f *fault) {
	if rest, ok := strings.CutPrefix(text, "["); ok {
		return splitBracketed(text, rest)
	}
	colon := strings.LastIndexByte(text, ':')
	if colon < 0 {
		return "", "", portless(text)
	}
	host, port = text[:colon], text[colon+1:]
	if strings.Contains(host, ":") {
		return "", "", bracketless(text, host, port)
	}
	return host, port, nil
}

func splitBracketed(text, rest string) (host, port string, f *fault) {
	host, port, closed := strings.Cut(rest, "]")
	addr, err := netip.ParseAddr(host)
	if !closed || err != nil || !plausibleZone(addr.Zone()) {
		return "", "", &fault{quote(text) + " has no IPv6 address in its brackets", addressForms}
	}
	port, found := strings.CutPrefix(port, ":")
	switch {
	case addr.Is4():
		return "", "", &fault{quote(text) + " has brackets around IPv4", didYouMean(host + ":" + port)}
	case !found:
		return "", "", &fault{quote(text) + " has no port", didYouMean("[" + host + "]:8080")}
	}
	return host, port, nil
}

// portless hints at forms that are right for bind_on and for forward_to.
func portless(text string) *fault {
	if portFault(text) == nil {
		return &fault{quote(text) + " has no host", didYouMean("127.0.0.1:" + text)}
	}
	f := &fault{quote(text) + " has no port", addressForms}
	if hostFault(text) == nil {
		f.hint = didYouMean(text + ":8080")
	}
	return f
}

// bracketless objects to IPv6 without brackets, where the last group may be meant as the port.
func bracketless(text, host, port string) *fault {
	f := &fault{quote(text) + " has too many colons", addressForms}
	if addr, err := netip.ParseAddr(host); err == nil && portFault(port) == nil {
		f = &fault{quote(text) + " has no brackets", "IPv6 stands in brackets: " + didYouMean("["+addr.String()+"]:"+port)}
	} else if addr, err := netip.ParseAddr(text); err == nil {
		f = &fault{quote(text) + " has no port", "IPv6 stands in brackets: " + didYouMean("["+addr.String()+"]:8080")}
	}
	return f
}

// portFault allows port 0, which means something to bind_on. It refuses leading zeros, which some
// tools read as octal.
func portFault(port string) *fault {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(number, 10) != port {
		return &fault{"port " + quote(port) + " is not a number from 1 to 65535", ""}
	}
	return nil
}
