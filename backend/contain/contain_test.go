package contain_test

import (
	"bytes"
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"weir/backend/contain"
)

func TestDoReportsAndCountsAPanic(t *testing.T) {
	var got []contain.Panic
	g := contain.New(func(p contain.Panic) { got = append(got, p) })
	if !g.Do("fine", func() {}) {
		t.Error("a function that returns did not")
	}
	if g.Do("the sweep", func() { panic("broken") }) {
		t.Error("a function that panics returned")
	}
	if len(got) != 1 || got[0].What != "the sweep" || got[0].Value != "broken" || !bytes.Contains(got[0].Stack, []byte("contain_test")) {
		t.Errorf("reported %+v", got)
	}
	if g.Count() != 1 {
		t.Errorf("count %d, want 1", g.Count())
	}
}

func TestAReportThatPanicsIsContained(t *testing.T) {
	g := contain.New(func(contain.Panic) { panic("the log is broken as well") })
	g.Do("the sweep", func() { panic("broken") })
	if g.Count() != 1 {
		t.Errorf("count %d, want 1", g.Count())
	}
}

func TestGoexitIsNoPanic(t *testing.T) {
	g := contain.New(func(p contain.Panic) { t.Errorf("reported %v", p.Value) })
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.Do("a goroutine that ends", runtime.Goexit)
	}()
	<-done
	if g.Count() != 0 {
		t.Errorf("count %d, want 0", g.Count())
	}
}

func TestANilGuardContainsNothing(t *testing.T) {
	defer func() {
		if recover() != "broken" {
			t.Error("the panic did not go on")
		}
	}()
	var g *contain.Guard
	g.Do("anything", func() { panic("broken") })
}

func TestKeepBeginsAnewAfterAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, turns, began := contain.New(nil), 0, time.Now()
		g.Keep(t.Context(), "the watcher", func(context.Context) {
			if turns++; turns < 3 {
				panic("broken")
			}
		})
		if turns != 3 || g.Count() != 2 || time.Since(began) != 2*time.Second {
			t.Errorf("%d turns, %d panics, %v; want 3, 2 and 2s", turns, g.Count(), time.Since(began))
		}
	})
}

func TestKeepEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	g := contain.New(nil)
	g.Keep(ctx, "the watcher", func(context.Context) { cancel(); panic("broken") })
	if g.Count() != 1 {
		t.Errorf("count %d, want 1", g.Count())
	}
}

func TestCaughtReportsWhatWasRecovered(t *testing.T) {
	var got contain.Panic
	g := contain.New(func(p contain.Panic) { got = p })
	g.Caught("accepting", "broken", []byte("stack"))
	if g.Count() != 1 || got.What != "accepting" || got.Value != "broken" || string(got.Stack) != "stack" {
		t.Errorf("count %d, reported %+v", g.Count(), got)
	}
}
