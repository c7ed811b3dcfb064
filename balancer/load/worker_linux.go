package load

import (
	"fmt"

	"weir/frontend/reactor/loop"
)

// stage is how far a run has come.
type stage uint8

const (
	preparing stage = iota // lasting connections are opened
	working
	finishing // nothing begins any more
)

const (
	// maxOpening is how many connections a worker opens at one time while it prepares: fewer than any
	// accept queue holds.
	maxOpening = 64
	// sweeps is how often in one timeout the connections are looked at.
	sweeps = 4
)

// worker is one loop and its share of the connections. All of it belongs to the loop.
type worker struct {
	*loop.Loop
	*run
	index   int
	stage   stage
	clients []client
	resting fifo // in the open loop: those that have nothing to do
	busy    int  // those that have
	counts  tallies
	buf     []byte // every read goes here
	dial    dialer

	pacer *pacer // nil in the closed loop

	next, opening int // of clients, while preparing
	sweep, pauses *loop.Queue
	sweeper       loop.Timer

	drained   bool   // exhausted was called
	exhausted func() // there is no more work
	prepared  chan struct{}
	finished  chan struct{}
}

func newWorker(r *run, l *loop.Loop, index int) *worker {
	w := &worker{
		Loop: l, run: r, index: index, counts: newTallies(len(r.Phases)), buf: make([]byte, chunk),
		dial: newDialer(&r.Options, index), sweep: l.NewQueue(), pauses: l.NewQueue(),
		prepared: make(chan struct{}), finished: make(chan struct{}),
	}
	share := r.Concurrency / r.Loops
	if index < r.Concurrency%r.Loops {
		share++
	}
	w.clients = make([]client, share)
	for i := range w.clients {
		w.clients[i] = client{worker: w, fd: -1, counts: w.counts[0], base: int64(i*r.Loops + index)}
	}
	return w
}

// close closes what is still open, once the loop has ended.
func (w *worker) close() {
	for i := range w.clients {
		w.clients[i].close()
	}
	if w.pacer != nil {
		w.pacer.close()
	}
	w.Loop.Close()
}

// lasting says that the connections are opened before anything is measured.
func (w *worker) lasting() bool {
	return w.Mode == Pong || w.Mode == Stream || w.Mode == Hold && !w.open()
}

// prepare opens the connections that last.
func (w *worker) prepare() {
	w.sweep.Arm(&w.sweeper, w, w.Timeout/sweeps)
	if !w.lasting() {
		close(w.prepared)
		return
	}
	w.openMore()
}

func (w *worker) openMore() {
	for w.stage == preparing && w.next < len(w.clients) && w.opening < maxOpening {
		c := &w.clients[w.next]
		w.next++
		w.opening++
		c.counts.started++
		c.from = w.now()
		c.open()
	}
	if w.opening == 0 && w.next == len(w.clients) && w.stage == preparing {
		w.next++ // once
		close(w.prepared)
	}
}

// opened is told that one of the lasting connections stands, or has failed.
func (w *worker) opened() {
	w.opening--
	if w.opening == maxOpening-1 || w.opening == 0 { // not from within open, each time
		w.Post(w.openMore)
	}
}

// begin begins what is measured.
func (w *worker) begin() {
	w.stage = working
	if w.Mode != Hold && w.lasting() {
		for _, t := range w.counts {
			t.started = 0 // of connections, but messages count
		}
	}
	if w.open() {
		w.beginPaced()
		return
	}
	if w.Mode == Hold {
		return
	}
	w.busy = len(w.clients)
	for i := range w.clients {
		w.clients[i].again()
	}
}

func (w *worker) beginPaced() {
	w.resting = newFifo(len(w.clients))
	for i := range w.clients {
		if w.clients[i].state != held {
			w.resting.push(&w.clients[i])
		}
	}
	p, err := newPacer(w)
	if err != nil {
		w.counts[0].errors[fmt.Sprintf("timer: %v", err)]++
		w.retired()
		return
	}
	w.pacer = p
	p.pump()
}

// retired looks whether there is more to do.
func (w *worker) retired() {
	if w.busy > 0 {
		return
	}
	if w.stage == finishing {
		close(w.finished)
		return
	}
	if !w.drained && w.Mode != Hold && (w.pacer == nil || !w.pacer.more) {
		w.drained = true
		w.exhausted()
	}
}

// finish begins nothing more.
func (w *worker) finish() {
	if w.stage == preparing { // it was interrupted
		for i := range w.clients {
			w.clients[i].close()
		}
	}
	w.stage = finishing
	w.sweeper.Stop()
	w.sweep.Arm(&w.sweeper, w, w.Timeout/sweeps)
	if w.pacer != nil {
		w.pacer.stop()
	}
	w.busy++ // so that it is not done before the last was told
	for i := range w.clients {
		w.clients[i].wind()
	}
	w.busy--
	w.retired()
}

// Expired looks for connections that have waited too long.
func (w *worker) Expired(*loop.Timer) {
	now := w.now()
	for i := range w.clients {
		c := &w.clients[i]
		if c.state.timed() && now-c.since > w.Timeout {
			c.fail(errTimedOut)
		}
	}
	w.sweep.Arm(&w.sweeper, w, w.Timeout/sweeps)
}

// Ready lets a worker have timers.
func (w *worker) Ready(uint32) {}

// Panicked passes the panic on: there is nothing to save.
func (w *worker) Panicked(value any, stack []byte) { panic(fmt.Sprintf("load: %v\n%s", value, stack)) }
