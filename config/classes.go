package config

import (
	"fmt"
	"strings"
)

func (v *validator) classes(f *Frontend) {
	for i := range f.Classes {
		v.class(f, &f.Classes[i])
	}
	v.classNames(f.Classes)
	v.classOverlaps(f.Classes)
}

func (v *validator) class(f *Frontend, c *Class) {
	v.className(c)
	v.some(c, &c.Match, len(c.Match), "match", `a class says who belongs to it: match = "10.0.0.0/8"`)
	for i := range c.Match {
		v.knownListener(f, &c.Match[i])
	}
	v.count(&c.Weight, 1, maxWeight)
	v.count(&c.MaxConnections, 0, maxCount)
	v.count(&c.MaxQueued, 0, maxCount)
	g := queueGate(f)
	v.needs(g, &c.Weight, c.Weight == defaultWeight)
	v.needs(g, &c.MaxQueued, c.MaxQueued == 0)
	v.wrong(&c.MaxQueued, func() *fault { return v.queuedFault(f, c) })
}

func (v *validator) className(c *Class) {
	if v.nodes[&c.Name] == nil {
		v.missing(c, "name", `a class has a name: name = "batch"`)
		return
	}
	v.wrong(&c.Name, func() *fault {
		switch c.Name {
		case "":
			return &fault{"the name is empty", ""}
		case DefaultClass:
			return &fault{quote(c.Name) + " is the class of the clients that no other matches", "give this one its own name"}
		}
		return unprintable("the name", c.Name)
	})
}

// queuedFault stays silent where the queue's size is what is wrong.
func (v *validator) queuedFault(f *Frontend, c *Class) *fault {
	n := v.nodes[&f.Queue.Size]
	if n == nil || n.spoilt || f.Queue.Size == 0 || c.MaxQueued <= f.Queue.Size {
		return nil
	}
	message := fmt.Sprintf("%d is more than the queue has room for: size = %d at %s", c.MaxQueued, f.Queue.Size, v.where(n.offset))
	return &fault{message, ""}
}

// knownListener reports an address that the frontend does not listen on.
func (v *validator) knownListener(f *Frontend, m *Match) {
	list := v.nodes[&f.BindOn]
	if m.Prefix.IsSet() || list == nil || list.spoilt {
		return
	}
	var valid []string
	for i := range f.BindOn {
		a := &f.BindOn[i].Address
		if *a == m.BindOn || v.nodes[a].spoilt {
			return
		}
		valid = append(valid, a.String())
	}
	v.wrong(m, func() *fault {
		return &fault{quote(m.String()) + " is not in bind_on", notListening(m.BindOn, valid)}
	})
}

func notListening(a Address, valid []string) string {
	if near, ok := nearest(a.String(), valid); ok {
		return didYouMean(near)
	}
	return "listening addresses are written as in bind_on: " + clean(strings.Join(valid, ", "))
}

func (v *validator) classNames(classes []Class) {
	first := make(map[string]*Class)
	for i := range classes {
		c := &classes[i]
		if other, taken := first[c.Name]; taken && c.Name != "" {
			v.sameName(&c.Name, "class", c.Name, other)
			continue
		}
		first[c.Name] = c
	}
}

// classMatch is one entry of one class.
type classMatch struct {
	class *Class
	match *Match
}

// classOverlaps reports a prefix or an address that stands in two classes, or twice in one. Prefixes of
// different lengths are no overlap: the longest decides.
func (v *validator) classOverlaps(classes []Class) {
	first := make(map[Match]classMatch)
	for i := range classes {
		for j := range classes[i].Match {
			here := classMatch{&classes[i], &classes[i].Match[j]}
			if v.nodes[here.match].spoilt {
				continue
			}
			if other, taken := first[*here.match]; taken {
				v.wrong(here.match, func() *fault { return v.overlapFault(here, other) })
				continue
			}
			first[*here.match] = here
		}
	}
}

func (v *validator) overlapFault(here, first classMatch) *fault {
	text := v.nodes[here.match].text
	if here.class == first.class {
		return twice(text, v.where(v.nodes[first.match].offset))
	}
	at := v.where(v.nodes[first.class].offset)
	message := fmt.Sprintf("%s is in the class %s at %s as well", quote(text), quote(first.class.Name), at)
	return &fault{message, "a client is in one class"}
}
