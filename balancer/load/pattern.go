package load

import (
	"bytes"
	"math/rand/v2"
)

const (
	// period is prime, so that a loss of any usual size, such as a whole buffer, shows.
	period = 65521
	// chunk is the most that is sent or verified in one step.
	chunk = 64 << 10
)

// pattern is what is sent: what stands at a position of an endless stream is known without keeping
// what was sent, and so verifying costs a comparison.
type pattern []byte

// newPattern returns a pattern in which any chunk lies in one piece.
func newPattern() pattern {
	p := make(pattern, period+chunk)
	noise := rand.NewChaCha8([32]byte{})
	noise.Read(p[:period])
	for i := period; i < len(p); i++ {
		p[i] = p[i-period]
	}
	return p
}

// at returns up to n bytes that stand at a position, at most a chunk.
func (p pattern) at(position int64, n int64) []byte {
	i := position % period
	return p[i : i+min(n, chunk)]
}

// match says whether b, at most a chunk, is what stands at a position.
func (p pattern) match(position int64, b []byte) bool {
	return bytes.Equal(p.at(position, int64(len(b))), b)
}
