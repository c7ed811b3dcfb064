package backend

import (
	"testing"
	"time"

	"weir/backend/contain"
)

// B72: a panic in the pool's timer ends nothing, and the pool is as usable as before.
func TestB72PanicOfTheAlarm(t *testing.T) {
	var due []func()
	guard := contain.New(nil)
	p, err := NewPool(PoolOptions{
		Strategy: "cyclic", Guard: guard, Backends: []Options{parse(t, "a max=1"), parse(t, "b max=1")},
		After: func(_ time.Duration, f func()) { due = append(due, f) },
	})
	if err != nil {
		t.Fatal(err)
	}
	p.after(time.Second, func() { panic("boom") })
	due[0]()
	if guard.Count() != 1 {
		t.Errorf("%d panics are counted, want 1", guard.Count())
	}
	r := new(Request)
	l, _, err := p.Acquire(r)
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
}
