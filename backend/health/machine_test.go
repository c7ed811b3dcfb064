package health

import (
	"strings"
	"testing"
)

// verdicts feeds m a row of verdicts, "+" good and "-" bad, and returns its state after each: "U" or "D".
func verdicts(m *Machine, row string) string {
	var states strings.Builder
	for _, v := range row {
		m.Observe(v == '+')
		states.WriteString(map[bool]string{true: "U", false: "D"}[m.Up()])
	}
	return states.String()
}

func TestB30RiseFall(t *testing.T) {
	for _, c := range []struct {
		rise, fall int
		up         bool
		row, want  string
	}{
		{2, 3, true, "---", "UUD"},
		{2, 3, true, "--+---", "UUUUUD"},
		{2, 3, true, "----++", "UUDDDU"},
		{2, 3, false, "++", "DU"},
		{2, 3, false, "+-++", "DDDU"},
		{2, 3, false, "-----++---", "DDDDDDUUUD"},
		{1, 1, true, "-+-+", "DUDU"},
		{0, -5, true, "-+-+", "DUDU"},
		{5, 1, true, "-++++-+++++", "DDDDDDDDDDU"},
	} {
		m := NewMachine(c.rise, c.fall, c.up)
		if got := verdicts(&m, c.row); got != c.want {
			t.Errorf("rise %d, fall %d, up %v, %s: got %s, want %s", c.rise, c.fall, c.up, c.row, got, c.want)
		}
	}
}

func TestB31AlternatingVerdicts(t *testing.T) {
	for _, c := range []struct {
		up   bool
		want string
	}{{true, "U"}, {false, "D"}} {
		m := NewMachine(2, 2, c.up)
		got := verdicts(&m, strings.Repeat("-+", 500))
		if strings.Trim(got, c.want) != "" {
			t.Errorf("began up %v: changed", c.up)
		}
	}
}

func TestMachineTellsItsStreak(t *testing.T) {
	m := NewMachine(2, 3, true)
	for k, c := range []struct {
		good     bool
		changed  bool
		streak   int
		changing bool
	}{
		{false, false, 1, true},
		{false, false, 2, true},
		{true, false, 0, false},
		{false, false, 1, true},
		{false, false, 2, true},
		{false, true, 0, false},
		{false, false, 0, false},
		{true, false, 1, true},
		{true, true, 0, false},
	} {
		changed := m.Observe(c.good)
		if changed != c.changed || m.Streak() != c.streak || m.Changing() != c.changing {
			t.Fatalf("verdict %d: got changed %v, streak %d, changing %v, want %+v",
				k, changed, m.Streak(), m.Changing(), c)
		}
	}
}

// FuzzMachine holds the machine against the rule in its plainest form, over the whole history: the state
// turns when the last n verdicts all speak against it.
func FuzzMachine(f *testing.F) {
	f.Add(uint8(2), uint8(3), true, []byte("\x00\x00\x00\x01\x01"))
	f.Add(uint8(1), uint8(1), false, []byte("\x01\x00\x01\x00"))
	f.Fuzz(func(t *testing.T, rise, fall uint8, up bool, row []byte) {
		m, naive := NewMachine(int(rise), int(fall), up), up
		for k := range row {
			changed := m.Observe(row[k]&1 == 1)
			was := naive
			naive = afterLast(row[:k+1], max(int(rise), 1), max(int(fall), 1), naive)
			if m.Up() != naive || changed != (naive != was) {
				t.Fatalf("verdict %d: got up %v, changed %v, want up %v", k, m.Up(), changed, naive)
			}
		}
	})
}

func afterLast(row []byte, rise, fall int, up bool) bool {
	need := rise
	if up {
		need = fall
	}
	if len(row) < need {
		return up
	}
	for _, v := range row[len(row)-need:] {
		if v&1 == 1 == up {
			return up
		}
	}
	return !up
}

func BenchmarkMachine(b *testing.B) {
	m, k := NewMachine(2, 3, true), 0
	b.ReportAllocs()
	for b.Loop() {
		m.Observe(k%7 < 3)
		k++
	}
}
