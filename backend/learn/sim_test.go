package learn

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"time"
)

// server is a backend with a hidden capacity. Times are in seconds.
type server interface {
	begin(j *job, now float64)
	next() float64 // when the next job ends; +Inf: none is there
	end(now float64) *job
	setCapacity(c int, now float64)
}

type job struct {
	work   float64 // time it needs when nothing else is there
	began  float64
	active int
	key    float64 // its place in a heap
}

type jobs []*job

func (h jobs) Len() int           { return len(h) }
func (h jobs) Less(i, k int) bool { return h[i].key < h[k].key }
func (h jobs) Swap(i, k int)      { h[i], h[k] = h[k], h[i] }
func (h *jobs) Push(x any)        { *h = append(*h, x.(*job)) }
func (h *jobs) Pop() any {
	old := *h
	j := old[len(old)-1]
	*h = old[:len(old)-1]
	return j
}

// fifo serves capacity jobs at a time, and the others in the order of their coming.
type fifo struct {
	capacity int
	running  jobs
	waiting  []*job
}

func (f *fifo) begin(j *job, now float64) {
	f.waiting = append(f.waiting, j)
	f.start(now)
}

func (f *fifo) start(now float64) {
	for len(f.running) < f.capacity && len(f.waiting) > 0 {
		j := f.waiting[0]
		f.waiting = f.waiting[1:]
		j.key = now + j.work
		heap.Push(&f.running, j)
	}
}

func (f *fifo) next() float64 {
	if len(f.running) == 0 {
		return math.Inf(1)
	}
	return f.running[0].key
}

func (f *fifo) end(now float64) *job {
	j := heap.Pop(&f.running).(*job)
	f.start(now)
	return j
}

func (f *fifo) setCapacity(c int, now float64) {
	f.capacity = c
	f.start(now)
}

// sharing serves all jobs at once, and beyond its capacity each as much slower. done is how much work a
// job that was there from the start would have behind it.
type sharing struct {
	capacity int
	running  jobs
	done, at float64
}

func (p *sharing) rate() float64 { return min(1, float64(p.capacity)/float64(max(len(p.running), 1))) }

func (p *sharing) pass(now float64) {
	p.done += (now - p.at) * p.rate()
	p.at = now
}

func (p *sharing) begin(j *job, now float64) {
	p.pass(now)
	j.key = p.done + j.work
	heap.Push(&p.running, j)
}

func (p *sharing) next() float64 {
	if len(p.running) == 0 {
		return math.Inf(1)
	}
	return p.at + (p.running[0].key-p.done)/p.rate()
}

func (p *sharing) end(now float64) *job {
	p.pass(now)
	return heap.Pop(&p.running).(*job)
}

func (p *sharing) setCapacity(c int, now float64) {
	p.pass(now)
	p.capacity = c
}

// world is a backend behind a limit. Demand is how many clients want to be served at any time: one that
// was served comes again at once.
type world struct {
	limit    Limit
	server   server
	random   *rand.Rand
	service  time.Duration
	noise    float64 // standard deviation of the logarithm of the work
	demand   int
	connects time.Duration // also a Connect sample of this length for each session; 0: none
	silent   bool          // no FirstByte samples
	stray    float64       // share of answers that take 100 times as long to arrive, for reasons of their own
	now      float64
	active   int
	served   int
	watch    func(w *world) // after each sample
}

func (w *world) clock() time.Duration { return time.Duration(w.now * 1e9) }

// run lets time pass until then.
func (w *world) run(until time.Duration) {
	w.fill()
	for {
		at := w.server.next()
		if at > until.Seconds() {
			break
		}
		w.now = max(at, w.now)
		j := w.server.end(w.now)
		w.active--
		w.served++
		if !w.silent {
			w.observe(FirstByte, (w.now-j.began)*w.straying(), j.active)
		}
		w.fill()
	}
	w.now = until.Seconds()
}

// settledLimit is the limit, or during a probe the one from before it.
func (w *world) settledLimit() int {
	if w.limit.probe.on {
		return int(w.limit.probe.before)
	}
	return w.limit.Limit()
}

func (w *world) fill() {
	for w.active < min(w.limit.Limit(), w.demand) {
		w.active++
		j := &job{work: w.service.Seconds() * math.Exp(w.noise*w.random.NormFloat64()), began: w.now, active: w.active}
		w.server.begin(j, w.now)
		if w.connects > 0 {
			w.observe(Connect, w.connects.Seconds()*(1+0.1*w.random.Float64()), w.active)
		}
	}
}

func (w *world) straying() float64 {
	if w.random.Float64() < w.stray {
		return 100
	}
	return 1
}

func (w *world) observe(k Kind, latency float64, active int) {
	w.limit.Observe(Sample{Kind: k, Latency: time.Duration(latency * 1e9), Active: active, Now: w.clock()})
	if w.watch != nil {
		w.watch(w)
	}
}
