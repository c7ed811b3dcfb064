package backend

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Request is one session asking its pool for a backend, as often as it has to.
type Request struct {
	// Now is the time since the pool's start, from [Pool.Since].
	Now time.Duration
	// Class is the client's, from 0 in the order of QueueOptions.Classes. One too high is the last.
	Class int

	seq   uint64 // of its first wait; 0: none yet
	class *class // nil: not looked up yet
	key   uint64
	tried []*Backend
	buf   [4]*Backend // keeps tried from the heap
}

// NewRequest starts a request for the client at that address. The zero address (a unix client) is
// one like any other: source-hash sends all of them to one backend.
func NewRequest(client netip.Addr) Request { return Request{key: clientKey(client)} }

// Exclude asks for another backend than b from now on, if there is one.
func (r *Request) Exclude(b *Backend) {
	if r.tried == nil {
		r.tried = r.buf[:0]
	}
	for _, t := range r.tried {
		if t == b {
			return
		}
	}
	r.tried = append(r.tried, b)
}

// startOver forgets what was tried, but for the last of it.
func (r *Request) startOver() {
	if n := len(r.tried); n > 1 {
		r.tried[0] = r.tried[n-1]
		r.tried = r.tried[:1]
	}
}

// clientKey hashes an address alike in every process, with IPv4 and its mapped form the same.
func clientKey(a netip.Addr) uint64 {
	if !a.IsValid() {
		return 0
	}
	b := a.As16()
	hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	return mix(mix(hi) ^ lo)
}

// mix is the finalizer of splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
// Generators, OOPSLA 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
