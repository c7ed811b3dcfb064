package admin

import (
	"encoding/json"
	"net/http"
	"time"
)

// linesType is what an answer is that tells of something while it goes on: a line of JSON each time, the result or the
// [Problem] last.
const linesType = "application/jsonl"

// progress writes an answer of one value as the last of several lines.
type progress struct {
	w     http.ResponseWriter
	out   *http.ResponseController
	began bool
}

// tell writes a line at once.
func (p *progress) tell(k Killed) {
	text, _ := json.Marshal(k) // a Killed always can be
	_ = p.out.SetWriteDeadline(time.Now().Add(streamWrite))
	p.begin(http.StatusOK)
	_, _ = p.w.Write(append(text, '\n')) // who asked may be gone, which its context says
	_ = p.out.Flush()
}

func (p *progress) begin(status int) {
	if !p.began {
		p.began = true
		if status == http.StatusOK {
			p.w.Header().Set("Content-Type", linesType)
		}
		p.w.WriteHeader(status)
	}
}

// Header, WriteHeader and Write are for the end of it: what comes behind a line is another one.
func (p *progress) Header() http.Header {
	if p.began {
		return http.Header{}
	}
	return p.w.Header()
}

func (p *progress) WriteHeader(status int) { p.begin(status) }

func (p *progress) Write(text []byte) (int, error) {
	_ = p.out.SetWriteDeadline(time.Now().Add(streamWrite))
	p.begin(http.StatusOK)
	return p.w.Write(text)
}

// Unwrap is for [http.ResponseController].
func (p *progress) Unwrap() http.ResponseWriter { return p.w }
