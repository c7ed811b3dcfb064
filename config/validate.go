package config

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Limits that are not weir's choice.
const (
	// Counts become C ints in system calls (listen(2)), and 32-bit counters in pools.
	maxCount = math.MaxInt32
	// TCP_USER_TIMEOUT is a C int of milliseconds.
	minUserTimeout = Duration(time.Millisecond)
	maxUserTimeout = Duration(math.MaxInt32 * time.Millisecond)
	// MAX_TCP_KEEPIDLE and MAX_TCP_KEEPINTVL of Linux (include/net/tcp.h).
	maxKeepalive = Duration(32767 * time.Second)
)

// Limits that are.
const (
	// A probe every 10 ms is a load test; less is a typing error.
	minHealthInterval = Duration(10 * time.Millisecond)
	// Less than a second is less than two retransmissions on many ways; for more than a day there is 0.
	minDeadPeerTimeout = Duration(time.Second)
	maxDeadPeerTimeout = Duration(24 * time.Hour)
	maxRetries         = 100
	maxWeight          = 1000
	forever            = Duration(math.MaxInt64)
)

// validator checks what was decoded. It changes nothing; where a value stands it knows from the index.
type validator struct {
	*report
	index
}

func validate(r *report, x index, c *Config) {
	v := &validator{r, x}
	v.count(&c.MaxSessions, 0, maxCount)
	v.some(c, &c.Frontends, len(c.Frontends), "frontend", "the least file is: "+leastFile)
	for i := range c.Frontends {
		v.frontend(&c.Frontends[i])
	}
	v.frontendNames(c.Frontends)
	v.admin(&c.Admin)
	v.log(&c.Log)
	v.bindings(c)
}

func (v *validator) frontend(f *Frontend) {
	v.some(f, &f.BindOn, len(f.BindOn), "bind_on", `a frontend listens somewhere: bind_on = ":7070"`)
	for i := range f.BindOn {
		v.listen(&f.BindOn[i])
	}
	v.name(&f.Name)
	v.oneOf(&f.Strategy, Strategies...)
	v.oneOf(&f.Engine, "auto", "reactor", "copy")
	v.oneOf(&f.Failback, "auto", "manual")
	v.duration(&f.ConnectTimeout, 1, forever)
	v.count(&f.SessionJitter, 0, 100)
	v.count(&f.Retries, 0, maxRetries)
	v.keepalive(&f.Keepalive)
	v.durationOrZero(&f.UserTimeout, minUserTimeout, maxUserTimeout)
	v.durationOrZero(&f.DeadPeerTimeout, minDeadPeerTimeout, maxDeadPeerTimeout)
	v.count(&f.MaxSessions, 0, maxCount)
	v.count(&f.Backlog, 0, maxCount)
	v.some(f, &f.Backends, len(f.Backends), "backend", `a frontend forwards somewhere: [[frontend.backend]] with forward_to = "127.0.0.1:8080"`)
	for i := range f.Backends {
		v.backend(&f.Backends[i])
	}
	v.backendNames(f.Backends)
	v.admission(f)
	v.health(&f.Health)
	v.passive(&f.Passive)
}

func (v *validator) keepalive(k *Keepalive) {
	v.durationOrZero(&k.Idle, Duration(time.Second), maxKeepalive)
	v.wholeSeconds(&k.Idle)
	v.duration(&k.Interval, Duration(time.Second), maxKeepalive)
	v.wholeSeconds(&k.Interval)
	v.count(&k.Count, 1, 127)
}

func (v *validator) backend(b *Backend) {
	if v.nodes[&b.ForwardTo] == nil {
		v.missing(b, "forward_to", `a backend is connected to somewhere: forward_to = "127.0.0.1:8080"`)
	}
	v.wrong(&b.ForwardTo, b.ForwardTo.dialFault)
	v.name(&b.Name)
	v.count(&b.Weight, 0, maxWeight)
	v.backendLimit(b)
}

func (v *validator) health(h *Health) {
	v.oneOf(&h.Kind, "tcp", "none")
	v.duration(&h.Interval, minHealthInterval, forever)
	v.durationOrZero(&h.FastInterval, minHealthInterval, forever)
	v.duration(&h.Timeout, 1, forever)
	v.count(&h.Rise, 1, maxCount)
	v.count(&h.Fall, 1, maxCount)
	v.count(&h.Jitter, 0, 50)
	v.count(&h.Port, 0, math.MaxUint16)
	v.wrong(&h.Address, func() *fault { return probeAddressFault(h.Address) })
	v.oneOf(&h.Initial, "up", "down")
	v.oneOf(&h.OnDown, "keep", "close")
	v.oneOf(&h.OnUp, "keep", "close_backup_sessions")
}

func probeAddressFault(text string) *fault {
	f := hostFault(text)
	if f == nil || text == "" { // "": none, as in the effective configuration
		return nil
	}
	if host, port, split := splitAddress(text); split == nil && portFault(port) == nil && hostFault(host) == nil {
		return &fault{quote(text) + " has a port", fmt.Sprintf("write address = %q and port = %s", host, port)}
	}
	if inner := strings.Trim(text, "[]"); hostFault(inner) == nil {
		f.hint = didYouMean(inner)
	}
	return f
}

func (v *validator) passive(p *Passive) {
	v.count(&p.Failures, 0, maxCount)
	v.duration(&p.Window, 1, forever)
	v.duration(&p.EjectFor, 1, forever)
	v.duration(&p.EjectForMax, max(1, p.EjectFor), forever)
	v.count(&p.MaxEjected, 0, 100)
}

// wrong reports a value that the file set, once.
func (v *validator) wrong(field any, check func() *fault) {
	n := v.nodes[field]
	if n == nil || n.spoilt || v.full() {
		return
	}
	if f := check(); f != nil {
		v.add(n.offset, n.path(), f)
		n.spoilt = true
	}
}

// some requires a list to be there and to hold something.
func (v *validator) some(owner, list any, length int, key, hint string) {
	switch {
	case v.nodes[list] == nil:
		v.missing(owner, key, hint)
	case length == 0:
		v.wrong(list, func() *fault { return &fault{"the list is empty", hint} })
	}
}

// missing reports a key at the header of the table that should have it.
func (v *validator) missing(owner any, key, hint string) {
	n := v.nodes[owner]
	if n == nil || n.spoilt || v.misplaced[key] {
		return
	}
	v.add(n.offset, strings.TrimPrefix(n.path()+"."+key, "."), &fault{"missing", hint})
}

func (v *validator) name(name *string) {
	v.wrong(name, func() *fault {
		if v.nodes[name].text == "" { // by now *name is the default
			return &fault{"the name is empty", "without this key the name is the address"}
		}
		return unprintable("the name", *name)
	})
}

func (v *validator) oneOf(field *string, valid ...string) {
	v.wrong(field, func() *fault {
		if slices.Contains(valid, *field) {
			return nil
		}
		hint := "valid are " + strings.Join(valid, ", ")
		if near, ok := nearest(*field, valid); ok {
			hint = didYouMean(near) + " " + hint
		}
		return &fault{"unknown value " + quote(*field), hint}
	})
}

func (v *validator) count(field *int, least, most int) {
	v.wrong(field, func() *fault {
		if *field >= least && *field <= most {
			return nil
		}
		return &fault{fmt.Sprintf("%d is out of range", *field), fmt.Sprintf("valid are %d to %d", least, most)}
	})
}

// durationOrZero is for keys in which zero has a meaning of its own.
func (v *validator) durationOrZero(field *Duration, least, most Duration) {
	if *field != 0 {
		v.between(field, least, most, ", or 0s")
	}
}

func (v *validator) duration(field *Duration, least, most Duration) {
	v.between(field, least, most, "")
}

func (v *validator) between(field *Duration, least, most Duration, orZero string) {
	v.wrong(field, func() *fault {
		switch {
		case *field >= least && *field <= most:
			return nil
		case least == 1:
			return &fault{"0s is too short", "it must be more than zero"}
		case *field < least:
			return &fault{fmt.Sprintf("%s is too short", *field), fmt.Sprintf("the least is %s%s", least, orZero)}
		default:
			return &fault{fmt.Sprintf("%s is too long", *field), fmt.Sprintf("the most is %s", most)}
		}
	})
}

func (v *validator) wholeSeconds(field *Duration) {
	v.wrong(field, func() *fault {
		if time.Duration(*field)%time.Second == 0 {
			return nil
		}
		return &fault{fmt.Sprintf("%s has a fraction of a second", *field), "the kernel counts whole seconds here"}
	})
}
