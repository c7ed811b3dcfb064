package config

import (
	"net/netip"
	"path"
	"strings"
)

// binding is one listening address in a form that compares.
type binding struct {
	address *Address
	ip      netip.Addr
	v4, v6  bool // wildcard of that family
}

// bindings reports addresses that cannot be listened on at the same time: the same address, or one
// port on an IP and on a wildcard that has it. Port 0 never collides.
func (v *validator) bindings(c *Config) {
	paths := make(map[string]*Address)
	ports := make(map[uint16][]binding)
	for _, a := range v.listened(c) {
		if n := v.nodes[a]; n.spoilt {
			continue
		}
		if a.Network == "unix" {
			v.unixBinding(paths, a)
		} else if host, port := a.hostPort(); port != 0 {
			v.tcpBinding(ports, port, newBinding(a, host))
		}
	}
}

// listened gives the addresses of all frontends, and then the door's.
func (v *validator) listened(c *Config) (list []*Address) {
	for i := range c.Frontends {
		for j := range c.Frontends[i].BindOn {
			list = append(list, &c.Frontends[i].BindOn[j].Address)
		}
	}
	if c.Admin.BindOn != (Address{}) {
		list = append(list, &c.Admin.BindOn)
	}
	return list
}

func (v *validator) unixBinding(taken map[string]*Address, a *Address) {
	name := a.Address
	if name[0] == '/' {
		name = path.Clean(name)
	}
	if first, ok := taken[name]; ok {
		v.overlap(a, first)
		return
	}
	taken[name] = a
}

func (v *validator) tcpBinding(taken map[uint16][]binding, port uint16, b binding) {
	for _, other := range taken[port] {
		if b.overlaps(other) {
			v.overlap(b.address, other.address)
			return
		}
	}
	taken[port] = append(taken[port], b)
}

func (v *validator) overlap(a, first *Address) {
	v.wrong(a, func() *fault {
		at := v.where(v.nodes[first].offset)
		if *a == *first || a.Network == "unix" {
			return &fault{quote(a.String()) + " is bound twice: first at " + at, ""}
		}
		return &fault{quote(a.String()) + " overlaps " + quote(first.String()) + " at " + at, "one port of one IP can be bound once"}
	})
}

// newBinding reads localhost as 127.0.0.1, which is what it is to net.Listen on nearly every host.
func newBinding(a *Address, host string) binding {
	if strings.EqualFold(host, "localhost") {
		host = "127.0.0.1"
	}
	ip, _ := netip.ParseAddr(host)
	ip = ip.Unmap()
	b := binding{address: a, ip: ip}
	if host == "" || ip.IsUnspecified() {
		// Go opens :: and the empty host for IPv4 as well; 0.0.0.0 stays IPv4: see Address.Listen.
		b.v4, b.v6 = true, !ip.Is4()
	}
	return b
}

func (b binding) overlaps(other binding) bool {
	return b.ip == other.ip || b.covers(other) || other.covers(b)
}

func (b binding) covers(other binding) bool {
	if other.v4 || other.v6 {
		return b.v4 && other.v4 || b.v6 && other.v6
	}
	return b.v4 && other.ip.Is4() || b.v6 && other.ip.Is6()
}
