package reactor

import (
	"testing"

	"weir/frontend/relay"
)

// How many loops there should be does not depend on those that run, or a reload would divide the descriptors among
// more of them than there are.
func TestLoopsIsTheSameWhileLoopsRun(t *testing.T) {
	before := Loops()
	stock := relay.NewStock(0)
	defer stock.Close()
	r, err := New(before, stock, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.Start()
	if got := Loops(); got != before {
		t.Errorf("got %d while %d loops run, and %d before", got, before, before)
	}
	r.Stop()
	if got := Loops(); got != before {
		t.Errorf("got %d after the loops have stopped, and %d before", got, before)
	}
}
