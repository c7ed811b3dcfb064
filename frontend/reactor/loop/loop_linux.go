// Package loop is an event loop over epoll(7): it tells handlers what their descriptors are ready for,
// fires timers, and runs what other goroutines post. One goroutine runs a loop, and but for [Loop.Post]
// every method belongs to that goroutine. It knows nothing of sessions.
//
// Start with [Loop.Run].
package loop

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"weir/frontend/pulse"
)

// Handler is told what its descriptor is ready for.
type Handler interface {
	// Ready gets EPOLLIN and the like.
	Ready(events uint32)
	// Panicked is told that Ready, or a timer of the handler's, panicked. The loop goes on.
	Panicked(value any, stack []byte)
}

// Key names a registered descriptor. It is never used twice: an event that was on its way when its
// descriptor was closed does not reach the next one with the same number.
type Key uint64

// place is where a registration stands: events carry its index, and the generation it had.
type place struct {
	handler    Handler
	generation uint32
}

const (
	// maxEvents is how many events one call to the kernel can bring.
	maxEvents = 256
	// blindMS is how long the loop waits unseen by the runtime, in milliseconds, before it waits in a
	// way that the runtime sees. The latter costs, under load, 40 % more CPU: the runtime's monitor wakes
	// every 20 µs and hands the processor away. The former holds a processor, but holds up nobody: to
	// stop the world the runtime sends its threads a signal, every 100 µs until they stop, and that ends
	// epoll_wait(2) (BenchmarkStopTheWorld: 99 % of the stops take under 0.25 ms, with 1 ms as with 10).
	// Waits of 1 ms would be 10 % dearer, for each is the next timer that the processor has to be set to.
	blindMS = 10
	never   = time.Duration(math.MaxInt64)
)

// Loop is one event loop.
type Loop struct {
	// Contain, if not nil, calls f and keeps a panic of f from ending the loop. All that it does runs in it; what is
	// posted, and a handler's Panicked, each for itself. nil: such a panic goes on. It is set before Run.
	Contain func(f func())

	ep, wake int // owned; closed by Close
	events   [maxEvents]unix.EpollEvent
	places   []place
	vacant   []uint32
	again    []Handler // have more to do, but let the others go first

	start   time.Time
	now     time.Duration // since start
	pulse   pulse.Pulse
	turn    uint64
	timers  []*Queue
	nextDue time.Duration // no timer is due before

	mu      sync.Mutex
	posted  []func()
	asleep  bool // has to be woken
	closed  bool
	running []func() // the list that posted is swapped with
	stopped bool
}

// New returns a loop that is not running yet. Close it.
func New() (*Loop, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make event loop: %w", os.NewSyscallError("epoll_create1", err))
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(ep)
		return nil, fmt.Errorf("make event loop: %w", os.NewSyscallError("eventfd", err))
	}
	l := &Loop{ep: ep, wake: wake, start: time.Now(), nextDue: never}
	if _, errno := l.Add(wake, unix.EPOLLIN, (*waker)(l)); errno != 0 {
		l.Close()
		return nil, fmt.Errorf("make event loop: %w", os.NewSyscallError("epoll_ctl", errno))
	}
	return l, nil
}

// Close closes what New opened, once Run has returned. What is posted later is dropped.
func (l *Loop) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	unix.Close(l.ep)
	unix.Close(l.wake)
}

// Run handles events until Stop. The goroutine keeps its thread, and a runtime processor for most of
// the time under load: GOMAXPROCS wants one more for each loop.
func (l *Loop) Run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	once := l.once // here, for a method value allocates
	for !l.stopped {
		l.guarded(once)
	}
}

// once is one turn.
func (l *Loop) once() {
	n := l.wait()
	l.now = time.Since(l.start)
	l.pulse.Beat(l.now)
	l.turn++
	for i := range l.events[:n] {
		l.dispatch(&l.events[i])
	}
	l.runAgain()
	l.expire()
	l.runPosted()
}

// Stop makes Run return after this turn. It belongs to the loop: post it.
func (l *Loop) Stop() { l.stopped = true }

// Now returns the time at which this turn began.
func (l *Loop) Now() time.Time { return l.start.Add(l.now) }

// Elapsed returns how long after the loop was made this turn began.
func (l *Loop) Elapsed() time.Duration { return l.now }

// Ran returns how much of that time counts: what passed while the process was stopped does not, if a beat is set.
func (l *Loop) Ran() time.Duration { return l.pulse.Ran() }

// SetBeat has the loop wake that often at least, so that it knows whether it was stopped. 0: as rarely as it can.
func (l *Loop) SetBeat(d time.Duration) { l.pulse.SetEvery(d) }

// Turn returns the number of this turn: each handles what one look at the kernel has brought.
func (l *Loop) Turn() uint64 { return l.turn }

// Post has f run by the loop soon, or never if the loop stops before: at the end of this turn when it is the
// loop that posts. It may be called from any goroutine, at any time, and never blocks.
func (l *Loop) Post(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed { // and the descriptor may be somebody else's by now
		return
	}
	l.posted = append(l.posted, f)
	if l.asleep {
		l.asleep = false
		unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// Add has h told of events on fd, edge-triggered if they say so.
func (l *Loop) Add(fd int, events uint32, h Handler) (Key, Errno) {
	at := l.vacancy()
	p := &l.places[at]
	p.handler = h
	key := Key(p.generation)<<32 | Key(at)
	if err := control(l.ep, unix.EPOLL_CTL_ADD, fd, event(events, key)); err != 0 {
		l.Forget(key)
		return 0, err
	}
	return key, 0
}

// Change asks for other events of a registered descriptor.
func (l *Loop) Change(fd int, key Key, events uint32) Errno {
	return control(l.ep, unix.EPOLL_CTL_MOD, fd, event(events, key))
}

// Hand gives a registration to another handler.
func (l *Loop) Hand(key Key, h Handler) {
	if p := &l.places[uint32(key)]; p.generation == uint32(key>>32) {
		p.handler = h
	}
}

// Remove ends the registration of a descriptor that other descriptors share their file with: closing it
// would not take it out of the kernel's list.
func (l *Loop) Remove(fd int, key Key) {
	control(l.ep, unix.EPOLL_CTL_DEL, fd, event(0, key))
	l.Forget(key)
}

// Forget ends a registration. The descriptor is to be closed, which takes it out of the kernel's list.
// Key 0, which no handler but the loop's own ever has, is none.
func (l *Loop) Forget(key Key) {
	if key == 0 {
		return
	}
	at := uint32(key)
	p := &l.places[at]
	if p.generation != uint32(key>>32) {
		return
	}
	p.handler = nil
	p.generation++
	l.vacant = append(l.vacant, at)
}

func (l *Loop) vacancy() uint32 {
	if n := len(l.vacant); n > 0 {
		at := l.vacant[n-1]
		l.vacant = l.vacant[:n-1]
		return at
	}
	l.places = append(l.places, place{})
	return uint32(len(l.places) - 1)
}

// event carries the key in the 64 bits that the kernel gives back.
func event(events uint32, key Key) *unix.EpollEvent {
	return &unix.EpollEvent{Events: events, Fd: int32(uint32(key)), Pad: int32(uint32(key >> 32))}
}

// Again has h.Ready(0) called once more in this turn, after every other event was handled.
func (l *Loop) Again(h Handler) { l.again = append(l.again, h) }

// wait returns how many events there are, having waited for one if nothing else is to be done.
func (l *Loop) wait() int {
	if len(l.again) > 0 || !l.sleep() {
		return poll(l.ep, l.events[:], 0)
	}
	defer l.rise()
	ms := l.untilDue(blindMS)
	if n := poll(l.ep, l.events[:], ms); n > 0 || ms < blindMS {
		return n
	}
	l.now = time.Since(l.start)
	return block(l.ep, l.events[:], l.untilDue(l.untilBeat()))
}

// sleep says that whoever posts from now on has to wake the loop. It reports false if somebody already has
// posted.
func (l *Loop) sleep() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asleep = len(l.posted) == 0
	return l.asleep
}

func (l *Loop) rise() {
	l.mu.Lock()
	l.asleep = false
	l.mu.Unlock()
}

// untilBeat returns the most milliseconds that the loop may wait at a time.
func (l *Loop) untilBeat() int {
	if every := l.pulse.Every(); every > 0 {
		return max(1, int(every/time.Millisecond))
	}
	return math.MaxInt32
}

// untilDue returns the milliseconds until the next timer, rounded up, at most most. -1: none is armed
// and there is no most.
func (l *Loop) untilDue(most int) int {
	if l.nextDue == never {
		if most == math.MaxInt32 {
			return -1
		}
		return most
	}
	left := l.nextDue - l.now
	if left <= 0 {
		return 0
	}
	return min(most, int((left+time.Millisecond-1)/time.Millisecond))
}

func (l *Loop) dispatch(e *unix.EpollEvent) {
	p := &l.places[uint32(e.Fd)]
	if p.generation != uint32(e.Pad) {
		return // of a descriptor that is closed
	}
	l.ready(p.handler, e.Events)
}

func (l *Loop) ready(h Handler, events uint32) {
	defer l.contain(h)
	h.Ready(events)
}

// contain, deferred, keeps a panic from all handlers but h, and what h does about it from all.
func (l *Loop) contain(h Handler) {
	if r := recover(); r != nil {
		stack := debug.Stack()
		l.guarded(func() { h.Panicked(r, stack) })
	}
}

// guarded runs what no handler answers for.
func (l *Loop) guarded(f func()) {
	if l.Contain == nil {
		f()
		return
	}
	l.Contain(f)
}

// Contain, deferred in what is posted, keeps a panic from all handlers but h.
func Contain(h Handler) {
	if r := recover(); r != nil {
		h.Panicked(r, debug.Stack())
	}
}

func (l *Loop) runAgain() {
	for i := 0; i < len(l.again) && i < maxEvents; i++ {
		l.ready(l.again[i], 0)
	}
	n := copy(l.again, l.again[min(len(l.again), maxEvents):])
	clear(l.again[n:])
	l.again = l.again[:n]
}

// runPosted runs what was posted until now.
func (l *Loop) runPosted() {
	l.mu.Lock()
	l.posted, l.running = l.running[:0], l.posted
	l.mu.Unlock()
	for i, f := range l.running {
		l.running[i] = nil
		l.guarded(f)
	}
}

// waker is told that somebody has posted.
type waker Loop

func (w *waker) Ready(uint32) {
	var eight [8]byte
	unix.Read(w.wake, eight[:])
}

func (w *waker) Panicked(value any, stack []byte) { panic(fmt.Sprintf("%v\n%s", value, stack)) }
