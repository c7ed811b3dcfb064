package load

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"weir/frontend/reactor/loop"
)

// pacer begins work at its times. The loop's own timers count milliseconds, which is longer than most
// answers take: a timerfd keeps time to the microsecond.
type pacer struct {
	worker   *worker
	fd       int // owned
	key      loop.Key
	schedule *schedule
	head     start // the next
	more     bool  // there is a next
	pumping  bool
	// Here, or each alarm would allocate them.
	alarm unix.ItimerSpec
	rang  [8]byte
}

func newPacer(w *worker) (*pacer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	p := &pacer{worker: w, fd: fd, schedule: newSchedule(&w.Options)}
	key, errno := w.Add(fd, unix.EPOLLIN, p)
	if errno != 0 {
		unix.Close(fd)
		return nil, os.NewSyscallError("epoll_ctl", errno)
	}
	p.key = key
	p.schedule.skip(w.index)
	p.head, p.more = p.schedule.next()
	return p, nil
}

func (p *pacer) advance() {
	p.schedule.skip(p.worker.Loops - 1) // which the others begin
	p.head, p.more = p.schedule.next()
}

// elapsed returns the time since the run began.
func (p *pacer) elapsed() time.Duration {
	return p.worker.now() - time.Duration(p.worker.begun.Load())
}

// pump begins what is due, as far as there are free connections.
func (p *pacer) pump() {
	if p.pumping {
		return // what is begun has ended at once
	}
	p.pumping = true
	defer func() { p.pumping = false }()
	w := p.worker
	for p.more && w.resting.len() > 0 {
		wait := p.head.at - p.elapsed()
		if wait > 0 {
			p.arm(wait)
			return
		}
		s := p.head
		p.advance()
		w.busy++
		w.resting.pop().begin(time.Duration(w.begun.Load())+s.at, s.phase)
	}
	if !p.more {
		w.retired()
	}
}

func (p *pacer) arm(wait time.Duration) {
	p.alarm.Value = unix.NsecToTimespec(int64(wait))
	unix.TimerfdSettime(p.fd, 0, &p.alarm, nil)
}

// stop begins nothing more, and counts what has come too late to begin.
func (p *pacer) stop() {
	now := p.elapsed()
	for p.more && p.head.at <= now {
		p.worker.counts[p.head.phase].late++
		p.advance()
	}
	p.more = false
}

func (p *pacer) close() { unix.Close(p.fd) }

// Ready is told that the time has come.
func (p *pacer) Ready(uint32) {
	unix.Read(p.fd, p.rang[:])
	if p.worker.stage == working {
		p.pump()
	}
}

// Panicked passes the panic on.
func (p *pacer) Panicked(value any, stack []byte) { p.worker.Panicked(value, stack) }

// fifo is a queue of clients.
type fifo struct {
	ring        []*client
	first, size int
}

func newFifo(capacity int) fifo { return fifo{ring: make([]*client, capacity)} }

func (f *fifo) len() int { return f.size }

func (f *fifo) push(c *client) {
	f.ring[(f.first+f.size)%len(f.ring)] = c
	f.size++
}

func (f *fifo) pop() *client {
	c := f.ring[f.first]
	f.first = (f.first + 1) % len(f.ring)
	f.size--
	return c
}
