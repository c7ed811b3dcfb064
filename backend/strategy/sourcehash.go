package strategy

import (
	"math/bits"
	"slices"
)

// sourceHash gives a client the same member every time, on every balancer with the same members. It
// looks the client's key up in a Maglev table (table.go), which holds all members that have a weight,
// eligible or not, and depends on nothing but their IDs and weights.
//
// When the member found is not to be had, the key is hashed again and looked up again. So when a member
// goes, its clients spread over the others and nobody else moves, and when it comes back so do they.
//
// The configured weights shape the table. Effective ones do not: slow start has no effect here, since
// a client sent elsewhere for half a minute and then back is moved twice.
//
// The table of 10,000 members takes longer to make than sessions may wait. So a change of members or
// weights only makes it out of date, and it serves on until Rebuild has brought the next: who was removed
// is passed over like one that is away, who was placed gets no clients yet, and who has lost its weight
// keeps them while it is eligible. Until there is a table at all, the clients go by rendezvous.
type sourceHash struct {
	table    []int32 // member by place
	members  []hashed
	eligible set // members that may be picked
	inTable  set // members that are eligible and in table
	placings uint64
	changes  uint64 // of what the table is made of
	made     uint64 // how many of the changes table knows
}

// hashed is what the table is made of.
type hashed struct {
	salt   uint64 // a hash of its ID
	weight int
	placed uint64 // the number of its placing, which tells it from who was there before; 0: nobody is there
	tabled bool   // table knows it
}

// lookups bounds the search in the table. It fails in 3 % of cases when nine in ten members are away, and
// hardly ever with fewer. Of 10,000 members the worst number to be left is 300, with 0.4 µs a pick.
const lookups = 32

func (s *sourceHash) Place(i int, m Member) {
	s.members = grow(s.members, i, hashed{})
	s.eligible, s.inTable = s.eligible.grow(i), s.inTable.grow(i)
	h := &s.members[i]
	if h.placed == 0 {
		s.placings++
		*h = hashed{salt: hashID(m.ID), placed: s.placings}
	}
	if weight := max(m.Weight, 0); weight != h.weight {
		h.weight = weight
		s.changes++
	}
}

func (s *sourceHash) Remove(i int) {
	s.eligible.remove(i)
	s.inTable.remove(i)
	if s.members[i].weight > 0 {
		s.changes++
	}
	s.members[i] = hashed{}
}

func (s *sourceHash) Update(i int, l Load) {
	if !l.Eligible {
		s.eligible.remove(i)
		s.inTable.remove(i)
		return
	}
	s.eligible.add(i)
	if s.members[i].tabled {
		s.inTable.add(i)
	}
}

func (s *sourceHash) Pick(r *Request) int {
	hash := mix(r.Key)
	if len(s.table) == 0 {
		return s.rendezvous(hash, r.Tried)
	}
	for range lookups {
		i := int(s.table[below(hash, len(s.table))])
		if s.inTable.has(i) && !slices.Contains(r.Tried, i) {
			return i
		}
		hash = mix(hash)
	}
	return s.rendezvous(hash, r.Tried)
}

// rendezvous picks the eligible member that scores highest for hash (Thaler and Ravishankar 1998), which
// keeps the promise of who moves. It looks at every eligible member, 20 µs for 10,000, but it is only asked
// when there are few, when none has a weight, or before the first table. Weights do not count here.
func (s *sourceHash) rendezvous(hash uint64, tried []int) int {
	best, high := -1, uint64(0)
	for w, word := range s.eligible {
		for ; word != 0; word &= word - 1 {
			i := w*64 + bits.TrailingZeros64(word)
			score := mix(hash ^ s.members[i].salt)
			if (best < 0 || score > high) && !slices.Contains(tried, i) {
				best, high = i, score
			}
		}
	}
	return best
}

// Rebuild is of [Tabled].
func (s *sourceHash) Rebuild() func() func() {
	if s.made == s.changes {
		return nil
	}
	seen, members := s.changes, s.shaping()
	return func() func() {
		table := makeTable(members)
		return func() { s.install(table, members, seen) }
	}
}

// shaping lists the members that have a weight.
func (s *sourceHash) shaping() []seat {
	list := make([]seat, 0, len(s.members))
	for i, h := range s.members {
		if h.weight > 0 {
			list = append(list, seat{salt: h.salt, weight: h.weight, member: int32(i), placed: h.placed})
		}
	}
	return list
}

// install puts the table of these members in place, made after so many changes. Those that were removed
// since are not in it, and so is not who has their place now.
func (s *sourceHash) install(table []int32, members []seat, seen uint64) {
	if seen < s.made {
		return
	}
	s.table, s.made = table, seen
	for i := range s.members {
		s.members[i].tabled = false
	}
	for _, m := range members {
		if h := &s.members[m.member]; h.placed == m.placed {
			h.tabled = true
		}
	}
	for i := range s.members {
		s.inTable.remove(i)
		if s.members[i].tabled && s.eligible.has(i) {
			s.inTable.add(i)
		}
	}
}

// set is a set of members, one bit each.
type set []uint64

func (s set) grow(i int) set { return grow(s, i/64, 0) }
func (s set) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }
func (s set) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s set) remove(i int)   { s[i/64] &^= 1 << (i % 64) }

// below maps a hash to a number below n.
func below(hash uint64, n int) int {
	high, _ := bits.Mul64(hash, uint64(n))
	return int(high)
}

// hashID is FNV-1a, mixed since its high bits are weak. No random seed: all balancers must agree.
func hashID(id string) uint64 {
	hash := uint64(14695981039346656037)
	for i := range len(id) {
		hash = (hash ^ uint64(id[i])) * 1099511628211
	}
	return mix(hash)
}

// mix is one step of splitmix64 (Steele, Lea and Flood 2014): every bit of x moves every bit of the
// result with even chance, and no two x have the same.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
