package health

// Machine says whether a backend is up, from a series of verdicts. Its state changes with exactly the
// n-th verdict in a row that speaks against it: n is rise while down and fall while up. One verdict for
// the state begins the count anew, so with fall 2 a backend that fails every other probe stays up.
//
// It is not safe for concurrent use.
type Machine struct {
	rise, fall int
	up         bool
	streak     int
}

// NewMachine returns a machine in state up (or down). rise and fall below 1 count as 1.
func NewMachine(rise, fall int, up bool) Machine {
	return Machine{rise: max(rise, 1), fall: max(fall, 1), up: up}
}

// Observe takes a verdict and says whether it changed the state.
func (m *Machine) Observe(good bool) (changed bool) {
	if good == m.up {
		m.streak = 0
		return false
	}
	m.streak++
	if m.streak < m.needed() {
		return false
	}
	m.up, m.streak = good, 0
	return true
}

func (m *Machine) needed() int {
	if m.up {
		return m.fall
	}
	return m.rise
}

// Up is the state.
func (m *Machine) Up() bool { return m.up }

// Changing says that the last verdict spoke against the state, but not yet often enough.
func (m *Machine) Changing() bool { return m.streak > 0 }

// Streak is how many verdicts in a row, up to the last, spoke against the state: 0 after a change.
func (m *Machine) Streak() int { return m.streak }
