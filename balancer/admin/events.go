package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	// maxStreams leaves connections for those who ask for something else.
	maxStreams = 16
	// streamWrite bounds how long one event may take to be written: who reads nothing for that long is gone.
	streamWrite = 10 * time.Second
	// streamBeat is how often a stream without events says that it is alive, so that both sides notice when
	// the other is gone.
	streamBeat = 15 * time.Second
)

// events streams what happens: as server-sent events if they are asked for, else as a line of JSON each,
// with an empty line now and then.
func (d *Door) events(w http.ResponseWriter, r *http.Request) {
	select {
	case d.streams <- struct{}{}:
		defer func() { <-d.streams }()
	default:
		(&Problem{Status: http.StatusServiceUnavailable, Detail: fmt.Sprintf("%d streams of events are open: no more are allowed", maxStreams)}).write(w)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(d.closing, cancel)()
	forgetDeadlines(w)
	s := newStream(w, strings.Contains(r.Header.Get("Accept"), "text/event-stream"))
	s.run(d.operator.Events(ctx), ctx)
}

// stream is one reader of events.
type stream struct {
	w    http.ResponseWriter
	out  *http.ResponseController
	sse  bool
	beat string
}

func newStream(w http.ResponseWriter, sse bool) *stream {
	s := &stream{w: w, out: http.NewResponseController(w), sse: sse, beat: "\n"}
	kind := "application/jsonl"
	if sse {
		kind, s.beat = "text/event-stream", ":\n\n" // a comment
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(http.StatusOK)
	return s
}

// run writes until the events or ctx end, or the reader is gone.
func (s *stream) run(events <-chan Event, ctx context.Context) {
	beat := time.NewTicker(streamBeat)
	defer beat.Stop()
	ok := s.write("") // the head of the answer goes out at once
	for ok {
		select {
		case e, more := <-events:
			ok = more && s.write(s.form(e))
		case <-beat.C:
			ok = s.write(s.beat)
		case <-ctx.Done():
			return
		}
	}
}

// form gives an event as it goes over the wire. JSON has no line breaks inside.
func (s *stream) form(e Event) string {
	text, _ := json.Marshal(e) // an Event always can be
	if s.sse {
		return fmt.Sprintf("event: %s\ndata: %s\n\n", e.Kind, text)
	}
	return string(text) + "\n"
}

func (s *stream) write(text string) bool {
	_ = s.out.SetWriteDeadline(time.Now().Add(streamWrite))
	if _, err := s.w.Write([]byte(text)); err != nil {
		return false
	}
	return s.out.Flush() == nil
}
