package strategy

import "testing"

func TestFirstTakesTheLowestIndex(t *testing.T) {
	h := furnish(t, "first", 1, 5, 1, 1)
	wantPicks(t, h, 0, 0, 0)
	if got := h.pick(0, 1); got != 2 {
		t.Errorf("with 0 and 1 tried: got %d, want 2", got)
	}
	h.eligible(0, false)
	wantPicks(t, h, 1, 1)
	h.eligible(1, false)
	wantPicks(t, h, 2)
	h.eligible(0, true)
	wantPicks(t, h, 0)
}
