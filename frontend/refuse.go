package frontend

import (
	"time"

	"weir/frontend/refusal"
)

// Refusal is how a client is let go that gets no backend.
type Refusal struct {
	// Reset makes it see a reset, in place of an end.
	Reset bool
	// Speech is what it is told before the end. nil: nothing.
	Speech *refusal.Speech
}

const (
	// RefusalTime and RefusalBytes bound what is read of a client that gets no backend, so that
	// closing it sends FIN and not RST.
	RefusalTime  = 5 * time.Millisecond
	RefusalBytes = 64 << 10
	// SpeechTime is how long, in all, a client may take to hear why: to say its part where its protocol
	// wants that, and to close. So long does a client that is refused keep its own two buffers and one
	// descriptor, and no slot of a backend.
	SpeechTime = 2 * time.Second
)

// RefusalOf says how a client is let go that ends like that.
func (f *Frontend) RefusalOf(o Outcome) Refusal {
	switch o {
	case BackendsFull, QueueFull, QueueTimeout:
		return f.Current().OnRefuse
	case ClientLeft:
		return Refusal{}
	}
	return f.Current().OnNoBackend
}
