package load

import "testing"

func TestPattern(t *testing.T) {
	p := newPattern()
	for _, position := range []int64{0, 1, period - 1, period, 10*period + 7, 1 << 40} {
		if b := p.at(position, chunk); len(b) != chunk || !p.match(position+period, b) {
			t.Errorf("at %d: %d bytes that do not come again after the period", position, len(b))
		}
		if p.match(position, p.at(position+1, 16)) {
			t.Errorf("at %d stands the same as one further", position)
		}
		if !p.match(position+100, p.at(position, chunk)[100:]) {
			t.Errorf("at %d: a part of a chunk does not match", position)
		}
	}
}
