package rate

import (
	"math/bits"
	"net/netip"
	"sync"
)

// shard is one part of a table: a slab of entries, a hash index of chains through them, a ring of
// those that have no session, and a chain of unused ones. It has no pointers inside, so the collector
// does not walk it.
type shard struct {
	mu      sync.Mutex
	rules   *rules
	entries []entry  // the first is the shared one
	heads   []uint32 // first entry of each chain; a power of two of them
	unused  uint32   // the first; the next is its chain
	max     int      // entries, with the shared one
	known   int
	asked   uint64 // how often the shared entry has judged
	// landlord is told of the sessions of each client; nil: nobody is.
	landlord func(client netip.Addr, by int)
}

// entry is one client, in 40 bytes.
type entry struct {
	key   [16]byte
	tat   int64  // when its bucket is full again
	live  uint32 // sessions; 0 if they are not counted
	chain uint32 // the next entry of the same chain; 0: none
	// The ring has the entries without live sessions, by how long they have been without or, if sessions are
	// not counted, since the last began.
	older, newer uint32
}

// shared is the entry for all clients that are not known when there is no room. It is in no chain, and
// in the ring it is the place between the newest and the oldest.
const shared = 0

// reach is how many entries are looked at for one to forget. An entry with no session that is not ready
// yet moves to the end of the ring, so that the next look begins behind it.
const reach = 16

// few is the room that a shard begins with.
const few = 16

func (s *shard) init(r *rules, size int) {
	s.rules, s.max = r, size+1
	s.resize(min(few, s.max))
	s.entries = append(s.entries, entry{tat: full})
}

// open judges a session that would begin now, and counts it at entry i if it may.
func (s *shard) open(key *[16]byte, hash uint32, now int64) (i uint32, v Verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i = s.find(key, hash); i == shared {
		i = s.add(key, hash, now)
	}
	if v = s.judge(i, now); i != shared {
		return i, v
	}
	s.asked++
	if v != OK {
		v = TableFull
	}
	return i, v
}

func (s *shard) judge(i uint32, now int64) Verdict {
	e := &s.entries[i]
	if s.rules.maxSessions > 0 && e.live >= s.rules.maxSessions {
		return TooMany
	}
	tat, ok := s.rules.limit.take(e.tat, now)
	if !ok {
		return TooFast
	}
	e.tat = tat
	if i != shared && e.live == 0 {
		s.leave(i)
	}
	if s.rules.maxSessions > 0 {
		e.live++
	} else if i != shared {
		s.join(i)
	}
	return OK
}

// close takes back a session that was counted at entry i.
func (s *shard) close(i uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &s.entries[i]
	if e.live == 0 { // closed twice: a count below 0 would be one of 4 billion
		return
	}
	if s.landlord != nil && i != shared {
		s.landlord(e.client(), -1)
	}
	if e.live--; e.live > 0 || i == shared {
		return
	}
	s.join(i)
	if s.rules.limit.interval == 0 {
		s.forget(i)
	}
}

// occupy counts n sessions more of a client.
func (s *shard) occupy(key *[16]byte, hash, n uint32, now int64) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(key, hash)
	if i == shared {
		i = s.add(key, hash, now)
	}
	e := &s.entries[i]
	if i != shared && e.live == 0 {
		s.leave(i)
	}
	e.live += n
	return i
}

func (s *shard) cede(landlord func(client netip.Addr, by int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if landlord != nil && s.landlord == nil {
		for i := range s.entries {
			if e := &s.entries[i]; i != shared && e.live > 0 {
				landlord(e.client(), int(e.live))
			}
		}
	}
	s.landlord = landlord
}

// client is the first address of the client's prefix.
func (e *entry) client() netip.Addr { return netip.AddrFrom16(e.key).Unmap() }

func (s *shard) find(key *[16]byte, hash uint32) uint32 {
	i := s.heads[s.slot(hash)]
	for i != 0 && s.entries[i].key != *key {
		i = s.entries[i].chain
	}
	return i
}

func (s *shard) slot(hash uint32) uint32 { return hash & uint32(len(s.heads)-1) }

// add makes an entry with no session and a full bucket, or returns the shared one if there is no room.
func (s *shard) add(key *[16]byte, hash uint32, now int64) uint32 {
	i := s.room(now)
	if i == shared {
		return shared
	}
	head := &s.heads[s.slot(hash)]
	s.entries[i] = entry{key: *key, tat: full, chain: *head}
	*head = i
	s.join(i)
	s.known++
	return i
}

// room finds an entry for a new client. The oldest that can be forgotten comes before more memory, so
// that the table is as large as the clients are who have to be known.
func (s *shard) room(now int64) uint32 {
	if s.unused == 0 && !s.forgetOldest(now) && len(s.entries) == s.max {
		s.forgetAny(now)
	}
	if i := s.unused; i != 0 {
		s.unused = s.entries[i].chain
		return i
	}
	if len(s.entries) == s.max {
		return shared
	}
	if len(s.entries) == cap(s.entries) {
		s.resize(min(2*cap(s.entries), s.max))
	}
	s.entries = s.entries[:len(s.entries)+1]
	return uint32(len(s.entries) - 1)
}

// forgetOldest forgets the oldest entry without a session if its bucket is full.
func (s *shard) forgetOldest(now int64) bool {
	i := s.entries[shared].newer
	if i == shared || s.entries[i].tat > now {
		return false
	}
	s.forget(i)
	return true
}

func (s *shard) forgetAny(now int64) {
	for range reach {
		i := s.entries[shared].newer
		if i == shared || s.forgetOldest(now) {
			return
		}
		s.leave(i)
		s.join(i)
	}
}

// forget makes an entry in the ring an unused one.
func (s *shard) forget(i uint32) {
	s.leave(i)
	e := &s.entries[i]
	at := &s.heads[s.slot(uint32(s.rules.hash(&e.key)))]
	for *at != i {
		at = &s.entries[*at].chain
	}
	*at = e.chain
	e.chain, s.unused = s.unused, i
	s.known--
}

// join puts an entry into the ring as the newest.
func (s *shard) join(i uint32) {
	e, last := &s.entries[i], s.entries[shared].older
	e.older, e.newer = last, shared
	s.entries[last].newer = i
	s.entries[shared].older = i
}

func (s *shard) leave(i uint32) {
	e := &s.entries[i]
	s.entries[e.older].newer = e.newer
	s.entries[e.newer].older = e.older
}

// resize gives room for n entries. It is called when none is unused, so that all are in a chain.
func (s *shard) resize(n int) {
	s.entries = append(make([]entry, 0, n), s.entries...)
	s.heads = make([]uint32, 1<<(bits.Len(uint(n))-1))
	for i := 1; i < len(s.entries); i++ {
		e := &s.entries[i]
		head := &s.heads[s.slot(uint32(s.rules.hash(&e.key)))]
		e.chain, *head = *head, uint32(i)
	}
}

func (s *shard) addTo(sum *Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum.Known += s.known
	sum.Shared += s.asked
}
