package loop

import (
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

const patience = 10 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running returns a loop that runs until the test ends.
func running(t testing.TB) *Loop {
	t.Helper()
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() { l.Run(); close(over) }()
	t.Cleanup(func() {
		l.Post(l.Stop)
		<-over
		l.Close()
	})
	return l
}

// on runs f in the loop and waits for it.
func on(t testing.TB, l *Loop, f func()) {
	t.Helper()
	done := make(chan struct{})
	l.Post(func() { f(); close(done) })
	await(t, done)
}

func await(t testing.TB, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatal("waited in vain")
	}
}

// probe is a handler that tells what it was told.
type probe struct {
	ready    func(events uint32)
	expired  func(*Timer)
	panicked func(any)
}

func (p *probe) Ready(events uint32)          { p.ready(events) }
func (p *probe) Expired(t *Timer)             { p.expired(t) }
func (p *probe) Panicked(v any, stack []byte) { p.panicked(v) }

func pair(t testing.TB) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

func TestReadyTellsOfBytesAndEnd(t *testing.T) {
	l := running(t)
	a, b := pair(t)
	defer unix.Close(a)
	got := make(chan string, 10)
	h := &probe{ready: func(uint32) {
		buf := make([]byte, 10)
		n, errno := Recv(a, buf)
		if errno != 0 {
			got <- errno.Error()
			return
		}
		got <- string(buf[:n])
	}}
	var key Key
	on(t, l, func() { key, _ = l.Add(a, unix.EPOLLIN|unix.EPOLLET&0xffffffff, h) })
	unix.Write(b, []byte("hello"))
	if s := <-got; s != "hello" {
		t.Errorf("read %q, want hello", s)
	}
	unix.Close(b)
	if s := <-got; s != "" {
		t.Errorf("read %q, want the end", s)
	}
	on(t, l, func() { l.Forget(key) })
}

// A descriptor is closed, and its number used again, while an event for it is on its way: in one batch
// the first handler closes the second's descriptor and opens another in its place.
func TestEventOfClosedDescriptorIsDropped(t *testing.T) {
	l := running(t)
	a1, a2 := pair(t)
	b1, b2 := pair(t)
	defer unix.Close(a2)
	defer unix.Close(b2)
	told := make(chan string, 10)
	var victim Key
	closed := false
	var c1, c2 int
	successor := &probe{ready: func(uint32) { told <- "successor" }}
	kill := func(own, other int, name string) *probe {
		return &probe{ready: func(uint32) {
			told <- name
			if closed {
				return
			}
			closed = true
			unix.Close(other)
			l.Forget(victim)
			c1, c2 = pair(t)
			if c1 != other {
				unix.Dup3(c1, other, unix.O_CLOEXEC)
				unix.Close(c1)
				c1 = other
			}
			l.Add(c1, unix.EPOLLIN, successor) // the same number, the same place: another generation
			Recv(own, make([]byte, 1))
		}}
	}
	on(t, l, func() {
		// Both become ready while the loop is busy here, so that one batch brings both. Epoll gives
		// them in the order in which they became ready.
		l.Add(a1, unix.EPOLLIN, kill(a1, b1, "first"))
		victim, _ = l.Add(b1, unix.EPOLLIN, kill(b1, a1, "victim"))
		unix.Write(a2, []byte("x"))
		unix.Write(b2, []byte("x"))
	})
	on(t, l, func() {})
	on(t, l, func() {})
	close(told)
	var order []string
	for s := range told {
		order = append(order, s)
	}
	if !slices.Equal(order, []string{"first"}) {
		t.Errorf("told were %q, want the first alone: the victim is closed, and its successor has no bytes", order)
	}
	for _, fd := range []int{a1, c1, c2} {
		unix.Close(fd)
	}
}

func TestTimersFireInOrder(t *testing.T) {
	l := running(t)
	fired := make(chan *Timer, 10)
	h := &probe{expired: func(t *Timer) { fired <- t }}
	var a, b, c, d Timer
	on(t, l, func() {
		short, long := l.NewQueue(), l.NewQueue()
		long.Arm(&a, h, 30*time.Millisecond)
		short.Arm(&b, h, 10*time.Millisecond)
		short.Arm(&c, h, 5*time.Millisecond) // out of order in its queue
		short.Arm(&d, h, 20*time.Millisecond)
		d.Stop()
	})
	for i, want := range []*Timer{&c, &b, &a} {
		select {
		case got := <-fired:
			if got != want {
				t.Errorf("timer %d to fire is the wrong one", i)
			}
		case <-time.After(patience):
			t.Fatal("a timer did not fire")
		}
	}
	on(t, l, func() {
		if a.Armed() || d.Armed() {
			t.Error("a timer that fired or was stopped is armed")
		}
	})
}

func TestPanicIsTheHandlersOwn(t *testing.T) {
	l := running(t)
	a, b := pair(t)
	defer unix.Close(a)
	defer unix.Close(b)
	told := make(chan any, 10) // the closing of the pair is an event as well
	h := &probe{ready: func(uint32) { panic("oh") }, panicked: func(v any) {
		Recv(a, make([]byte, 1))
		told <- v
	}}
	on(t, l, func() { l.Add(a, unix.EPOLLIN|unix.EPOLLET&0xffffffff, h) })
	unix.Write(b, []byte("x"))
	if v := <-told; v != "oh" {
		t.Errorf("told of %v, want oh", v)
	}
	on(t, l, func() {}) // it goes on
}

// An idle loop blocks: it uses no CPU.
func TestIdleLoopSleeps(t *testing.T) {
	l := running(t)
	on(t, l, func() {})
	var before, after unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &before)
	<-time.After(300 * time.Millisecond)
	unix.Getrusage(unix.RUSAGE_SELF, &after)
	used := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	if used > 100*time.Millisecond {
		t.Errorf("used %v of CPU in 300ms of idleness", used)
	}
}

// A name may be resolved after the loop has gone: its descriptor's number then is another's.
func TestPostAfterCloseIsDropped(t *testing.T) {
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	wake := l.wake
	l.Close()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if fd != wake {
		if err := unix.Dup3(fd, wake, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(wake)
	}
	l.Post(func() { t.Error("run after the end") })
	if n, err := unix.Read(wake, make([]byte, 8)); err != unix.EAGAIN {
		t.Errorf("read %d bytes and %v from the number's next owner, want nothing", n, err)
	}
}

func TestAgainLetsOthersGoFirst(t *testing.T) {
	l := running(t)
	n := 0
	done := make(chan struct{})
	h := &probe{}
	h.ready = func(uint32) {
		if n++; n < 5 {
			l.Again(h)
		} else {
			close(done)
		}
	}
	on(t, l, func() { l.Again(h) })
	await(t, done)
}

// BenchmarkWake is one post and the loop's answer.
func BenchmarkWake(b *testing.B) {
	l := running(b)
	done := make(chan struct{})
	f := func() { done <- struct{}{} }
	b.ReportAllocs()
	for b.Loop() {
		l.Post(f)
		<-done
	}
}

// BenchmarkTimers arms a timer anew among 10,000 others.
func BenchmarkTimers(b *testing.B) {
	l, err := New()
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	q := l.NewQueue()
	h := &probe{}
	timers := make([]Timer, 10000)
	for i := range timers {
		q.Arm(&timers[i], h, time.Minute)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		q.Arm(&timers[i], h, time.Minute)
		if i++; i == len(timers) {
			i = 0
		}
	}
}

// What nobody answers for ends no loop that has Contain: neither what is posted, nor a handler that panics over its
// own panic, by an event or a timer.
func TestContainKeepsTheLoopGoing(t *testing.T) {
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	caught := make(chan any, 10)
	l.Contain = func(f func()) {
		defer func() {
			if r := recover(); r != nil {
				caught <- r
			}
		}()
		f()
	}
	done := make(chan struct{})
	go func() { l.Run(); close(done) }()
	defer func() { l.Post(l.Stop); await(t, done); l.Close() }()
	want := func(value any) {
		t.Helper()
		select {
		case got := <-caught:
			if got != value {
				t.Errorf("caught %v, want %v", got, value)
			}
		case <-time.After(patience):
			t.Fatalf("%v was not caught", value)
		}
	}
	a, b := pair(t)
	defer unix.Close(a)
	defer unix.Close(b)
	h := &probe{
		ready:    func(uint32) { Recv(a, make([]byte, 10)); panic("ready") },
		expired:  func(*Timer) { panic("expired") },
		panicked: func(v any) { panic("over " + v.(string)) },
	}
	var timer Timer
	on(t, l, func() { l.Add(a, unix.EPOLLIN|unix.EPOLLET&0xffffffff, h) })
	unix.Write(b, []byte("hello"))
	want("over ready")
	on(t, l, func() { l.NewQueue().Arm(&timer, h, time.Millisecond) })
	want("over expired")
	l.Post(func() { panic("posted") })
	want("posted")
	on(t, l, func() {})
}
