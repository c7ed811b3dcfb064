package rate

import (
	"hash/maphash"
	"math"
	"math/bits"
	"net/netip"
	"time"
)

// Options say what one client may do and how many are known.
type Options struct {
	Rate        float64 // new sessions a second; 0 or less: no limit
	Burst       int     // new sessions at once after a rest; less than 1: 1
	MaxSessions int     // sessions at the same time; 0 or less: no limit

	// Addresses with the same first bits are one client. 0: 32 and 64. A customer of a provider commonly
	// has a /56 or /64 of IPv6 (RFC 6177), in which it can take a new address for each session.
	IPv4Bits, IPv6Bits int

	// Size is how many clients are known at the same time. 0: 65,536, in 3.2 MB; at most 268 million. Twice
	// the sessions that may be open at the same time is ample.
	Size int
}

const (
	defaultIPv4Bits = 32
	defaultIPv6Bits = 64
	defaultSize     = 1 << 16
	maxSize         = 1 << 28
)

// Clients bounds what each client may do. A nil *Clients bounds nothing.
//
// A client is known while it has a session (if those are limited) and as long as its bucket is not full
// (if the rate is), which is at most Burst/Rate seconds after its last session began. To forget it then
// loses nothing, and only then is it forgotten: a live count never is.
//
// The table grows with use, whatever comes, to at most 52 bytes for each of Size clients (48 measured, with
// the default size); it does not shrink. It has parts of 4,096 clients or more, and one that grows needs
// its new memory beside the old for a moment.
//
// When a flood has filled a part with clients that cannot be forgotten, all others that belong there share
// the limits of a single client. So a flood can have what Size clients may, and one more for each part;
// known clients lose nothing; what new ones lose is told by [TableFull] and [Stats]. If one of them
// becomes known while it has sessions that were counted as shared, those stay there.
type Clients struct {
	rules      rules
	ipv4, ipv6 int // bits
	shards     []shard
}

// rules are what all parts of a table go by.
type rules struct {
	limit       limit
	maxSessions uint32 // 0: sessions are not counted
	seed        maphash.Seed
}

func (r *rules) hash(key *[16]byte) uint64 { return maphash.Bytes(r.seed, key[:]) }

// NewClients returns an empty table, or nil if the options limit nothing.
func NewClients(o Options) *Clients {
	c := &Clients{
		rules: rules{newLimit(o.Rate, o.Burst), uint32(min(uint64(max(o.MaxSessions, 0)), math.MaxUint32)), maphash.MakeSeed()},
		ipv4:  bitsOr(o.IPv4Bits, defaultIPv4Bits, 32),
		ipv6:  bitsOr(o.IPv6Bits, defaultIPv6Bits, 128),
	}
	if c.rules.limit.interval == 0 && c.rules.maxSessions == 0 {
		return nil
	}
	if o.Size <= 0 {
		o.Size = defaultSize
	}
	shards, size := share(min(o.Size, maxSize))
	c.shards = make([]shard, shards)
	for i := range c.shards {
		c.shards[i].init(&c.rules, size)
	}
	return c
}

func bitsOr(bits, other, most int) int {
	if bits <= 0 {
		return other
	}
	return min(bits, most)
}

// share divides a table into parts of at least 4,096 clients, each with its own lock: as many as are a
// power of two, up to 1,024. The hash does not fill them evenly, so each has room for six standard
// deviations above the mean: with Size clients, one part in a billion has one too many.
func share(size int) (shards, each int) {
	shards = 1 << min(max(bits.Len(uint(size/4096))-1, 0), 10)
	if shards == 1 {
		return 1, size
	}
	mean := (size + shards - 1) / shards
	return shards, mean + int(6*math.Sqrt(float64(mean)))
}

// Verdict is what Open says.
type Verdict uint8

const (
	OK        Verdict = iota
	TooFast           // the client's sessions begin too fast
	TooMany           // the client has too many sessions
	TableFull         // the client is not known, and what such clients together may do is used up
)

func (v Verdict) String() string {
	switch v {
	case OK:
		return "ok"
	case TooFast:
		return "too fast"
	case TooMany:
		return "too many sessions"
	}
	return "too many clients"
}

// Ref says where a session was counted. Only the Clients that gave it can take it back. The zero Ref
// means that it was not counted.
type Ref uint64

const counted Ref = 1 << 63

// Open says whether the client at addr may begin a session now, and counts it if so. A session that got
// OK is ended once, by Close with its ref; a refused one is not counted and costs the client nothing.
//
// An IPv4-mapped address counts as IPv4, and zones do not matter. The zero Addr, which is a client on a
// unix socket, is always OK. Nothing is allocated but when the table grows.
func (c *Clients) Open(addr netip.Addr, now time.Duration) (Ref, Verdict) {
	if c == nil || !addr.IsValid() {
		return 0, OK
	}
	key := c.key(addr)
	hash := c.rules.hash(&key)
	part := (hash >> 32) & uint64(len(c.shards)-1)
	i, v := c.shards[part].open(&key, uint32(hash), int64(now))
	if v != OK || c.rules.maxSessions == 0 {
		return 0, v
	}
	return counted | Ref(part<<32) | Ref(i), OK
}

// Close ends a session that Open has counted at ref. The zero Ref does nothing.
func (c *Clients) Close(ref Ref) {
	if c != nil && ref != 0 {
		c.shards[(ref&^counted)>>32].close(uint32(ref))
	}
}

// Occupy counts n sessions that the client at addr has in another process, whatever it may have. They end by Vacate
// with the ref. Where sessions are not counted, ref is zero.
func (c *Clients) Occupy(addr netip.Addr, n int, now time.Duration) Ref {
	if c == nil || !addr.IsValid() || c.rules.maxSessions == 0 || n < 1 {
		return 0
	}
	key := c.key(addr)
	hash := c.rules.hash(&key)
	part := (hash >> 32) & uint64(len(c.shards)-1)
	i := c.shards[part].occupy(&key, uint32(hash), uint32(n), int64(now))
	return counted | Ref(part<<32) | Ref(i)
}

// Vacate ends n sessions that Occupy has counted at ref.
func (c *Clients) Vacate(ref Ref, n int) {
	for range n {
		c.Close(ref)
	}
}

// Cede has landlord told how many sessions each client has, and then of each that ends, as -1. It must not block, nor
// call the table. Clients that are not known, for the table is full, are not told of. With nil nobody is told any more.
func (c *Clients) Cede(landlord func(client netip.Addr, by int)) {
	if c == nil || c.rules.maxSessions == 0 {
		return
	}
	for i := range c.shards {
		c.shards[i].cede(landlord)
	}
}

// Counted returns the address that stands for the client at addr where its sessions are counted: the first of its prefix.
// The zero Addr: they are not.
func (c *Clients) Counted(addr netip.Addr) netip.Addr {
	if c == nil || !addr.IsValid() || c.rules.maxSessions == 0 {
		return netip.Addr{}
	}
	return netip.AddrFrom16(c.key(addr)).Unmap()
}

// key is the client's prefix in 16 bytes, IPv4 in its mapped form.
func (c *Clients) key(addr netip.Addr) [16]byte {
	addr = addr.Unmap()
	bits := c.ipv6
	if addr.Is4() {
		bits = c.ipv4
	}
	p, _ := addr.Prefix(bits) // bits are in range
	return p.Addr().As16()
}

// Stats is how full a table is.
type Stats struct {
	Known  int    // clients, some of which may be ready to be forgotten
	Shared uint64 // sessions, refused ones too, of clients that were not known while the table was full
}

// Stats adds up all parts of the table, one after the other.
func (c *Clients) Stats() (sum Stats) {
	if c == nil {
		return sum
	}
	for i := range c.shards {
		c.shards[i].addTo(&sum)
	}
	return sum
}
