package config

import (
	"fmt"
	"strings"
	"unicode"
)

// Limits of the keys about admission that are weir's choice.
const (
	// About one a day. Less is a typing error, and its waiting times do not fit into a time.Duration.
	minRate   = 0.00001
	rateRange = "valid are 0.00001 to 2147483647, or 0"
	// A refusal is one small packet, and fits into the empty send buffer of a socket.
	maxRefuseMessage = 1024
	// MySQL's clients keep 511 bytes of an error (MYSQL_ERRMSG_SIZE, include/mysql_com.h), the others more.
	maxRefuseText  = 511
	minClientTable = 1 << 10
	maxClientTable = 1 << 24
)

// gate is what gives other keys a meaning: the size of a queue, say, to the queue's timeout.
type gate struct {
	open    bool
	openers []opener
	// closed says what those other keys are without it, hint what would open it.
	closed, hint string
}

// opener is a value that can open a gate, and its key.
type opener struct {
	field any
	key   string
}

// needs reports a key that the file sets and that has no meaning. Whoever closed the gate in so many
// words may leave defaults behind it, as TOML does.
func (v *validator) needs(g gate, field any, isDefault bool) {
	if g.open {
		return
	}
	for _, o := range g.openers {
		n := v.nodes[o.field]
		if v.misplaced[o.key] || n != nil && (n.spoilt || isDefault) {
			return
		}
	}
	v.wrong(field, func() *fault { return &fault{g.closed, g.hint} })
}

func queueGate(f *Frontend) gate {
	return gate{
		open:    f.Queue.Size != 0,
		openers: []opener{{&f.Queue.Size, "size"}},
		closed:  "has no meaning without a queue",
		hint:    "a queue has a size: size = 1000 in [frontend.queue]",
	}
}

// admission checks what decides who is served, who waits and who is refused.
func (v *validator) admission(f *Frontend) {
	v.count(&f.MaxConnections, 0, maxCount)
	v.refusal(f)
	v.listedTwice(f.Allow)
	v.listedTwice(f.Deny)
	v.queue(f)
	v.classes(f)
	v.rate(&f.Rate)
	v.client(&f.Client)
}

func (v *validator) refusal(f *Frontend) {
	v.oneOf(&f.OnNoBackend, "refuse", "close", "reset", "hold")
	if f.OnNoBackend == "hold" {
		hold := queueGate(f)
		hold.closed = `"hold" needs a queue for clients to wait in`
		v.needs(hold, &f.OnNoBackend, false)
	}
	v.oneOf(&f.OnRefuse, "close", "reset", "speak")
	if f.Protocol != "" { // "": none, as in the effective configuration
		v.oneOf(&f.Protocol, "postgres", "mysql", "redis")
	}
	v.wrong(&f.RefuseMessage, func() *fault { return messageFault(f.Protocol, f.RefuseMessage) })
	v.speech(f)
}

// messageFault lets every byte through where there is no protocol. In one, a zero byte or a line break
// would end the error and make another reply of the rest.
func messageFault(protocol, text string) *fault {
	most, of := maxRefuseMessage, ""
	if protocol != "" {
		most, of = maxRefuseText, " with a protocol"
	}
	switch {
	case len(text) > most:
		return &fault{fmt.Sprintf("the message has %d bytes", len(text)), fmt.Sprintf("the most is %d%s", most, of)}
	case protocol != "" && strings.IndexFunc(text, unicode.IsControl) >= 0:
		return &fault{"the message " + quote(text) + " has control characters", "an error of a protocol is one line of text"}
	case protocol == "mysql" && strings.HasPrefix(text, "#"):
		return &fault{"the message begins with #", "in an error of mysql that marks an SQLSTATE"}
	}
	return nil
}

// speech holds "speak" and what there is to say together.
func (v *validator) speech(f *Frontend) {
	speak := gate{
		open:    f.OnRefuse == "speak",
		openers: []opener{{&f.OnRefuse, "on_refuse"}},
		closed:  `has no meaning without on_refuse = "speak"`,
	}
	if f.Protocol != "" {
		v.needs(speak, &f.Protocol, false)
	}
	if f.RefuseMessage != "" {
		v.needs(speak, &f.RefuseMessage, false)
	}
	if !speak.open {
		return
	}
	words := gate{
		open:    f.Protocol != "" || f.RefuseMessage != "",
		openers: []opener{{&f.Protocol, "protocol"}, {&f.RefuseMessage, "refuse_message"}},
		closed:  `"speak" has nothing to say`,
		hint:    "set protocol or refuse_message",
	}
	v.needs(words, &f.OnRefuse, false)
}

func (v *validator) queue(f *Frontend) {
	q, g := &f.Queue, queueGate(f)
	v.count(&q.Size, 0, maxCount)
	v.duration(&q.Timeout, 1, forever)
	v.oneOf(&q.FairBy, "none", "client")
	v.needs(g, &q.Timeout, q.Timeout == defaultQueueTimeout)
	v.needs(g, &q.FairBy, q.FairBy == defaultFairBy)
	v.needs(g, &q.LeaveOnEnd, q.LeaveOnEnd)
	v.everWaits(f)
}

// everWaits reports a queue in front of a pool that takes everybody.
func (v *validator) everWaits(f *Frontend) {
	limits := gate{
		open:    f.Queue.Size == 0 || f.OnNoBackend == "hold",
		openers: []opener{{&f.OnNoBackend, "on_no_backend"}, {&f.Backends, "backend"}, {&f.Classes, "class"}},
		closed:  "nobody would ever wait: nothing limits the connections",
		hint:    `set max_connections in [frontend], [frontend.backend] or [frontend.class], or on_no_backend = "hold"`,
	}
	for _, limit := range limitsOf(f) {
		limits.open = limits.open || *limit != 0
		limits.openers = append(limits.openers, opener{limit, "max_connections"})
	}
	for i := range f.Backends {
		limits.open = limits.open || f.Backends[i].Auto
	}
	v.needs(limits, &f.Queue.Size, false)
}

// limitsOf gives every limit that clients of a frontend can wait at.
func limitsOf(f *Frontend) []*int {
	list := []*int{&f.MaxConnections}
	for i := range f.Backends {
		list = append(list, &f.Backends[i].MaxConnections)
	}
	for i := range f.Classes {
		list = append(list, &f.Classes[i].MaxConnections)
	}
	return list
}

func (v *validator) rate(r *Rate) {
	v.perSecond(&r.Sessions)
	v.count(&r.Burst, 1, maxCount)
	v.needs(gate{
		open:    r.Sessions != 0,
		openers: []opener{{&r.Sessions, "sessions"}},
		closed:  "has no meaning without sessions",
		hint:    "it is how many of them may come at once: sessions = 100",
	}, &r.Burst, r.Burst == 1)
}

func (v *validator) client(c *Client) {
	v.perSecond(&c.Rate)
	v.count(&c.Burst, 1, maxCount)
	v.count(&c.MaxSessions, 0, maxCount)
	v.count(&c.IPv4Prefix, 1, 32)
	v.count(&c.IPv6Prefix, 1, 128)
	v.count(&c.Table, minClientTable, maxClientTable)
	rate := gate{
		open:    c.Rate != 0,
		openers: []opener{{&c.Rate, "rate"}},
		closed:  "has no meaning without rate",
		hint:    "it is how many sessions of one client may come at once: rate = 10",
	}
	v.needs(rate, &c.Burst, c.Burst == 1)
	either := gate{
		open:    c.Rate != 0 || c.MaxSessions != 0,
		openers: append(rate.openers, opener{&c.MaxSessions, "max_sessions"}),
		closed:  "has no meaning without rate or max_sessions",
		hint:    "they are what is counted for each client",
	}
	v.needs(either, &c.IPv4Prefix, c.IPv4Prefix == defaultIPv4Prefix)
	v.needs(either, &c.IPv6Prefix, c.IPv6Prefix == defaultIPv6Prefix)
	v.needs(either, &c.Table, c.Table == defaultClientTable)
}

func (v *validator) perSecond(field *float64) {
	v.wrong(field, func() *fault {
		if *field == 0 || *field >= minRate && *field <= maxCount {
			return nil
		}
		return &fault{clean(v.nodes[field].text) + " is out of range", rateRange}
	})
}

// backendLimit checks a limit that is fixed, or the bounds of one that is learned.
func (v *validator) backendLimit(b *Backend) {
	auto := gate{
		open:    b.Auto,
		openers: []opener{{&b.MaxConnections, "max_connections"}},
		closed:  `has no meaning without max_connections = "auto"`,
		hint:    "it bounds a limit that is learned",
	}
	v.needs(auto, &b.Min, false)
	v.needs(auto, &b.Max, false)
	if !b.Auto {
		v.count(&b.MaxConnections, 0, maxCount)
		return
	}
	v.count(&b.Min, 1, maxCount)
	v.count(&b.Max, 1, maxCount)
	v.wrong(&b.Min, func() *fault {
		if n := v.nodes[&b.Max]; b.Min <= b.Max || n != nil && n.spoilt {
			return nil
		}
		return &fault{fmt.Sprintf("min %d is more than max %d", b.Min, b.Max), v.sayMax(b)}
	})
}

// sayMax tells where the other bound comes from.
func (v *validator) sayMax(b *Backend) string {
	if n := v.nodes[&b.Max]; n != nil {
		return "max is at " + v.where(n.offset)
	}
	return fmt.Sprintf("%d is the default of max", b.Max)
}
