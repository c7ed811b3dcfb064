package handover

import (
	"encoding/json"
	"fmt"
)

// message is what is said at one time: one packet.
type message struct {
	// Hello and Answers are said by the landlord.
	Hello   *hello   `json:"hello,omitempty"`
	Answers []Answer `json:"answers,omitempty"`
	LetGo   bool     `json:"let_go,omitempty"` // of the processes before the tenant
	// The rest is said by the tenant.
	Free      bool       `json:"free,omitempty"`   // those before it, as it was told
	Report    *report    `json:"report,omitempty"` // what Counts belong to; nil: they are changes
	Counts    []count    `json:"counts,omitempty"`
	Questions []Question `json:"questions,omitempty"`
	Withdrawn []uint64   `json:"withdrawn,omitempty"`
	Declined  string     `json:"declined,omitempty"` // why there never will be a report
	Failed    string     `json:"failed,omitempty"`   // why there is none now
}

// hello asks for a report, and says for which frontends the landlord decides.
type hello struct {
	Version   int      `json:"version"`
	PID       int      `json:"pid"`
	Epoch     uint64   `json:"epoch"` // of what is said from now on
	Frontends []string `json:"frontends,omitempty"`
	Last      bool     `json:"last,omitempty"`
}

type report struct {
	PID   int    `json:"pid"`
	Epoch uint64 `json:"epoch"`
	First bool   `json:"first,omitempty"`
	Last  bool   `json:"last,omitempty"`
}

type count struct {
	Place
	N int `json:"c"`
}

const (
	// A message is begun anew when it has about so many bytes. The kernel takes about 200 KB.
	fullSize = 16 << 10
	// mostSize bounds what is sent and taken in one piece.
	mostSize = 128 << 10
)

// parts divides a list into pieces that fit into a message. There is at least one, which may be empty.
func parts[T any](list []T, size func(*T) int) (pieces [][]T) {
	from, bytes := 0, 0
	for i := range list {
		n := size(&list[i])
		if i > from && bytes+n > fullSize {
			pieces = append(pieces, list[from:i])
			from, bytes = i, 0
		}
		bytes += n
	}
	return append(pieces, list[from:])
}

// The sizes are guesses, on the safe side but for names full of control characters.
func (c *count) size() int {
	return 80 + len(c.Frontend) + len(c.Name) + len(c.Network) + len(c.Address)
}
func (a *Answer) size() int  { return 100 + len(a.Class) + idSize(a) }
func nameSize(s *string) int { return 8 + len(*s) }
func ticketSize(*uint64) int { return 22 }
func (q *Question) size() (n int) {
	n = 160 + len(q.Frontend)
	if q.Backend != nil {
		n += len(q.Backend.Class)
		for _, id := range q.Backend.Tried {
			n += 60 + len(id.Name) + len(id.Address)
		}
	}
	return n
}

func idSize(a *Answer) int {
	if a.Backend == nil {
		return 0
	}
	return len(a.Backend.Name) + len(a.Backend.Address)
}

func (m *message) encode() ([]byte, error) {
	text, err := json.Marshal(m)
	if err == nil && len(text) > mostSize {
		err = fmt.Errorf("a name is too long: %d bytes in one message, the most is %d", len(text), mostSize)
	}
	return text, err
}

func decode(text []byte) (*message, error) {
	m := new(message)
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("understand the other process: %w", err)
	}
	return m, nil
}
