package load

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// Result is how a run went.
type Result struct {
	Mode        Mode    `json:"mode"`
	Target      string  `json:"target"`
	Size        int     `json:"size"`
	Concurrency int     `json:"concurrency"`
	Loops       int     `json:"loops"`
	Seed        uint64  `json:"seed"`
	Seconds     float64 `json:"seconds"`
	Part
	// Phases holds the parts of a run that has phases.
	Phases []Part `json:"phases,omitempty"`
}

// Part is the counts of a run, or of a phase of it. A piece of work belongs to the phase in which it was
// to begin.
type Part struct {
	Name    string `json:"name,omitempty"`
	Started int64  `json:"started"`
	Done    int64  `json:"done"`
	// NotStarted were to begin, in an open loop, when there was no free connection until the end.
	NotStarted int64 `json:"not_started"`
	// PerSecond is Done by the time of the run or the phase.
	PerSecond     float64 `json:"per_second"`
	BytesSent     int64   `json:"bytes_sent"`
	BytesReceived int64   `json:"bytes_received"`
	// BitsPerSecond counts what was received.
	BitsPerSecond float64          `json:"bits_per_second"`
	Latency       *Latency         `json:"latency_us,omitempty"`
	Errors        map[string]int64 `json:"errors"`
	Backends      map[string]int64 `json:"backends,omitempty"`
}

// Latency is in microseconds: of a connection from its start to the last byte of the answer, of a
// message from its sending.
type Latency struct {
	Least float64 `json:"min"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99_9"`
	Most  float64 `json:"max"`
}

// Failed returns how many errors there were.
func (r *Result) Failed() (n int64) {
	for _, k := range r.Errors {
		n += k
	}
	return n + r.NotStarted
}

func (r *run) result(ts tallies, took time.Duration) *Result {
	res := &Result{
		Mode: r.Mode, Target: r.Target.String(), Size: r.Size, Concurrency: r.Concurrency,
		Loops: r.Loops, Seed: r.Seed, Seconds: took.Seconds(), Part: newPart(ts.sum(), took),
	}
	for i := range r.Phases {
		p := newPart(ts[i], r.Phases[i].Duration)
		p.Name = r.Phases[i].Name
		res.Phases = append(res.Phases, p)
	}
	return res
}

func newPart(t *tally, took time.Duration) Part {
	p := Part{
		Started: t.started, Done: t.done, NotStarted: t.late, BytesSent: t.sent, BytesReceived: t.received,
		Errors: t.errors, Backends: make(map[string]int64),
	}
	for name, n := range t.backends {
		p.Backends[name] = *n
	}
	if s := took.Seconds(); s > 0 {
		p.PerSecond, p.BitsPerSecond = float64(t.done)/s, 8*float64(t.received)/s
	}
	if t.latency.TotalCount() > 0 {
		p.Latency = newLatency(t)
	}
	return p
}

func newLatency(t *tally) *Latency {
	h := t.latency
	us := func(ns int64) float64 { return float64(ns) / float64(time.Microsecond) }
	at := func(q float64) float64 { return us(h.ValueAtQuantile(q)) }
	return &Latency{
		Least: us(h.Min()), Mean: h.Mean() / float64(time.Microsecond),
		P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Most: us(h.Max()),
	}
}

// WriteJSON writes the result as one object.
func (r *Result) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteText writes the result for a person.
func (r *Result) WriteText(w io.Writer) error {
	fmt.Fprintf(w, "%s %s: %d connections at most, %d bytes, %.1f s\n", r.Mode, r.Target, r.Concurrency, r.Size, r.Seconds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\tdone\tper second\tp50\tp90\tp99\tp99.9\tmax\terrors\t\n")
	r.Part.row(t, "")
	for i := range r.Phases {
		r.Phases[i].row(t, r.Phases[i].Name)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if r.Mode == Stream {
		fmt.Fprintf(w, "received %.3f GB, %.2f Gbit/s\n", float64(r.BytesReceived)/1e9, r.BitsPerSecond/1e9)
	}
	if r.NotStarted > 0 {
		fmt.Fprintf(w, "not started in time: %d\n", r.NotStarted)
	}
	writeCounts(w, "errors", r.Errors)
	writeCounts(w, "served by", r.Backends)
	return nil
}

func (p *Part) row(w io.Writer, name string) {
	var failed int64
	for _, n := range p.Errors {
		failed += n
	}
	fmt.Fprintf(w, "%s\t%d\t%.0f\t", name, p.Done, p.PerSecond)
	for _, v := range p.Latency.columns() {
		fmt.Fprintf(w, "%s\t", v)
	}
	fmt.Fprintf(w, "%d\t\n", failed)
}

// columns returns the percentiles for a person; a stream has none.
func (l *Latency) columns() []string {
	if l == nil {
		return []string{"–", "–", "–", "–", "–"}
	}
	var texts []string
	for _, us := range []float64{l.P50, l.P90, l.P99, l.P999, l.Most} {
		texts = append(texts, time.Duration(us*float64(time.Microsecond)).Round(time.Microsecond).String())
	}
	return texts
}

func writeCounts(w io.Writer, title string, counts map[string]int64) {
	if len(counts) == 0 {
		return
	}
	fmt.Fprintf(w, "%s:\n", title)
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(w, "  %8d  %s\n", counts[k], k)
	}
}

// String returns the address as it is written on a command line.
func (a Address) String() string {
	if a.Network == "unix" {
		return "unix:" + a.Address
	}
	return a.Address
}
