package load

import (
	"bytes"
	"errors"
)

// What can be wrong with an answer.
var (
	errTimedOut = errors.New("timed out")
	errEnded    = errors.New("ended early")
	errCorrupt  = errors.New("not what was sent")
	errMore     = errors.New("more than was sent")
)

// greeting collects the first line of an answer.
type greeting struct{ line []byte }

// maxGreeting is where a line is cut.
const maxGreeting = 256

// take returns what follows the line in b, and whether the line is whole now.
func (g *greeting) take(b []byte) (rest []byte, whole bool) {
	i := bytes.IndexByte(b, '\n')
	part := b
	if i >= 0 {
		part, rest = b[:i], b[i+1:]
	}
	g.line = append(g.line, part[:min(len(part), maxGreeting-len(g.line))]...)
	return rest, i >= 0
}

// name returns the line, and forgets it. It is good until the next take.
func (g *greeting) name() []byte {
	line := g.line
	g.line = g.line[:0]
	return line
}
