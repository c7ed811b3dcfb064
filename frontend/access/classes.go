package access

import (
	"net/netip"

	"github.com/gaissmai/bart"
)

// Classes says to which class a client belongs. In a nil *Classes nobody belongs to any.
type Classes struct {
	index   bart.Table[int]
	unix    int
	hasUnix bool
}

// NewClasses builds classes from their prefixes: those at index i belong to class i, which may have
// none. Classes may overlap, as the longest prefix that matches decides. If two have the same prefix
// the first of them gets it. Prefixes are understood as by [New].
func NewClasses(prefixes [][]netip.Prefix) *Classes {
	c := &Classes{}
	for i, list := range prefixes {
		for _, p := range list {
			c.add(i, plain(p))
		}
	}
	return c
}

func (c *Classes) add(i int, p netip.Prefix) {
	if _, taken := c.index.Get(p); !taken {
		c.index.Insert(p, i)
	}
}

// HaveUnix makes the clients of unix sockets members of class i.
func (c *Classes) HaveUnix(i int) { c.unix, c.hasUnix = i, true }

// Of returns the index of the class of the client at addr. ok is false if no prefix matches; the zero Addr is a client
// of a unix socket. Addresses are understood as by [List.Allowed].
func (c *Classes) Of(addr netip.Addr) (index int, ok bool) {
	if c == nil {
		return 0, false
	}
	if !addr.IsValid() {
		return c.unix, c.hasUnix
	}
	return c.index.Lookup(addr.Unmap())
}
