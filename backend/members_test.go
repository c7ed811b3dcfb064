package backend

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"weir/backend/health"
)

// B61: a backend that is removed and put back while its sessions live is the same one.
func TestB61RemovedAndPutBack(t *testing.T) {
	s := set(t, PoolOptions{}, "a max=2", "b max=2")
	first, second := s.take("b"), s.take("b")
	a := first.Backend()
	s.reload(PoolOptions{}, "b max=2")
	want(t, "states", s.states(), "up removed")
	s.told()
	added, _ := s.reload(PoolOptions{}, "a max=2", "b max=2")
	want(t, "added", added, "a")
	want(t, "told", s.told(), "a removed>up 2/2")
	if s.named("a") != a {
		t.Error("a is another backend than before")
	}
	if got := s.Snapshot()[0]; got.Active != 2 || got.Totals.Sessions != 2 {
		t.Errorf("a has %d sessions of %d, want 2 of 2", got.Active, got.Totals.Sessions)
	}
	if l, _, err := s.Acquire(s.request("b")); err == nil && l.Backend() == a {
		t.Error("a third session got a, whose limit is 2")
	}
	first.Release()
	second.Release()
	if l := s.take("b"); l.Backend() != a {
		t.Errorf("got %s, want a, which is free again", l.Backend().Name())
	}
}

// B62: a backend that was renamed keeps, at its address, the slots of its old sessions.
func TestB62RenamedAtOneAddress(t *testing.T) {
	s := set(t, PoolOptions{Probed: true}, "a max=2", "b max=1")
	held := []Lease{s.take("b"), s.take("b"), s.take()}
	s.reload(PoolOptions{Probed: true, Overlap: time.Second}, "new max=2 at=a:1", "b max=1")
	want(t, "states", s.states(), "up up removed") // it takes over the health: nobody waits for a probe
	if got := s.Snapshot()[0]; got.Active != 0 || got.Elsewhere != 2 {
		t.Errorf("new has %d sessions, and %d elsewhere; want 0 and 2", got.Active, got.Elsewhere)
	}
	if _, _, err := s.Acquire(s.request()); err != ErrFull {
		t.Errorf("with all slots taken under the old name: got %v, want %v", err, ErrFull)
	}
	held[0].Release()
	l := s.take()
	want(t, "who has the slot", l.Backend().Name(), "new")
	if _, _, err := s.Acquire(s.request()); err != ErrFull {
		t.Errorf("with one of two slots under the old name: got %v, want %v", err, ErrFull)
	}
	held[1].Release()
	want(t, "the old one is gone when it has no session left", s.states(), "up up")
	l.Release()
	held[2].Release()
	if len(s.sites) != 2 {
		t.Errorf("%d sites are known, want 2", len(s.sites))
	}
}

// At one address there are never more sessions than the limit, whatever the backends there are called, and however
// often that changes.
func TestLimitHoldsForTheAddress(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := set(t, PoolOptions{}, "a max=2 at=x:1", "b max=3 at=y:1")
		limit := map[string]int{"x:1": 2, "y:1": 3}
		var held []Lease
		for range 300 {
			switch r.IntN(5) {
			case 0:
				var lines []string
				if r.IntN(4) > 0 {
					lines = append(lines, fmt.Sprintf("n%d max=2 at=x:1 weight=%d", r.IntN(3), 1+r.IntN(3)))
				}
				if r.IntN(4) > 0 || lines == nil {
					lines = append(lines, fmt.Sprintf("m%d max=3 at=y:1", r.IntN(3)))
				}
				s.reload(PoolOptions{Strategy: strategies[r.IntN(len(strategies))], Probed: r.IntN(2) == 0, Overlap: time.Second}, lines...)
			case 1:
				for _, b := range s.all {
					s.Probed(b, health.Verdict{})
				}
			case 2, 3:
				if l, _, err := s.Acquire(s.request()); err == nil {
					held = append(held, l)
				}
			case 4:
				if len(held) > 0 {
					held[0].Release()
					held = held[1:]
				}
			}
			now := map[string]int{}
			for _, l := range held {
				now[l.Backend().Address()]++
			}
			for address, n := range now {
				if n > limit[address] {
					t.Fatalf("seed %d: %d sessions at %s, whose limit is %d", seed, n, address, limit[address])
				}
			}
		}
		for i := range held {
			held[i].Release()
		}
		if len(s.gone) != 0 || len(s.foreign) != 0 || len(s.sites) != len(s.members) {
			t.Errorf("seed %d: %d gone and %d foreign backends and %d sites are left", seed, len(s.gone), len(s.foreign), len(s.sites))
		}
	}
}

// Sessions of another process count against the limit, also while the backend is no member.
func TestOccupy(t *testing.T) {
	s := set(t, PoolOptions{Strategy: "least-connections"}, "a max=2", "b")
	a := s.named("a").ID()
	s.Occupy(a, 2)
	want(t, "picks", s.picks(3), "b b b")
	s.Occupy(a, -1)
	if got := s.Snapshot()[0]; got.Elsewhere != 1 || got.Active != 0 {
		t.Errorf("a has %d sessions, and %d elsewhere; want 0 and 1", got.Active, got.Elsewhere)
	}
	s.reload(PoolOptions{}, "b")
	s.Occupy(a, 1)
	s.reload(PoolOptions{}, "a max=3", "b")
	l := s.take("b")
	want(t, "the last slot", l.Backend().Name(), "a")
	want(t, "none is left", s.picks(2), "b b")
	s.Occupy(a, -2)
	l.Release()
	want(t, "in the end", s.picks(2, "b"), "a a")
	if len(s.foreign) != 0 {
		t.Errorf("%d are still known to be occupied", len(s.foreign))
	}
}

// B63: the backends that were removed go on serving while no new one is usable yet, and not beyond.
func TestB63MakeBeforeBreak(t *testing.T) {
	o := PoolOptions{Probed: true, Overlap: 2 * time.Second, Queue: QueueOptions{Size: 10}}
	start := func() (*stage, func()) {
		s := set(t, o, "a max=1", "b max=1")
		var end func()
		s.Pool.after = func(_ time.Duration, f func()) { end = f }
		return s, func() { end() }
	}
	t.Run("until the first good probe", func(t *testing.T) {
		s, _ := start()
		held := []Lease{s.take(), s.take()}
		waits := s.ask(0, someone)
		s.reload(o, "c", "d")
		want(t, "states", s.states(), "down down up up")
		held[0].Release()
		s.hear(waits)
		if !waits.served() {
			t.Fatalf("who waited got %v, want a slot of those that were removed", waits.err)
		}
		s.told()
		s.Probed(s.named("c"), health.Verdict{})
		want(t, "told", s.told(), "c down>up 3/4, a up>removed 2/3, b up>removed 1/2")
		want(t, "picks", s.picks(2), "c c")
		want(t, "states", s.states(), "up down removed removed")
		waits.got.Release()
		held[1].Release()
		want(t, "states in the end", s.states(), "up down")
	})
	t.Run("until the time is up", func(t *testing.T) {
		s, end := start()
		s.reload(o, "c")
		held := []Lease{s.take(), s.take()}
		waits := s.ask(0, someone)
		end()
		s.hear(waits)
		if waits.err != ErrNoBackend {
			t.Errorf("who waited got %v, want %v", waits.err, ErrNoBackend)
		}
		want(t, "states", s.states(), "down removed removed")
		held[0].Release()
		held[1].Release()
	})
	t.Run("one reload after the other", func(t *testing.T) {
		s, end := start()
		s.reload(o, "c")
		s.reload(o, "a max=1", "d")
		want(t, "states", s.states(), "up down") // a never went, so that b and c may
		end()
		want(t, "states when the first time is up", s.states(), "up down")
	})
	t.Run("not if any is left that is usable", func(t *testing.T) {
		s, _ := start()
		s.reload(o, "b max=1", "c")
		want(t, "states", s.states(), "up down")
	})
	t.Run("not if those are not usable themselves", func(t *testing.T) {
		s, _ := start()
		s.SetUp(s.named("a"), false, "test")
		s.SetUp(s.named("b"), false, "test")
		s.reload(o, "c")
		want(t, "states", s.states(), "down")
	})
	t.Run("many", func(t *testing.T) {
		s := set(t, o, many(500, "")...)
		var after []func()
		s.Pool.after = func(_ time.Duration, f func()) { after = append(after, f) }
		s.reload(o, "c")
		s.Probed(s.named("c"), health.Verdict{})
		for _, f := range after {
			f()
		}
		want(t, "states", s.states(), "up")
	})
}

// What an operator says stays with the name: at another address, and when the backend comes back.
func TestAdminStaysWithTheName(t *testing.T) {
	s := set(t, PoolOptions{}, "a", "b")
	s.SetAdmin(s.named("a"), AdminMaint, "set to maint by root")
	s.reload(PoolOptions{}, "a at=other:1", "b")
	want(t, "at another address", s.states(), "maint up")
	s.reload(PoolOptions{}, "b")
	if n := s.Notes(); len(n) != 1 || n[0].Name != "a" || n[0].State != AdminMaint {
		t.Errorf("notes %+v, want that of a", n)
	}
	s.reload(PoolOptions{}, "b", "a")
	want(t, "put back", s.states(), "up maint")
	want(t, "reason", s.Snapshot()[1].Reason, "set to maint by root")
	s.SetAdmin(s.named("a"), AdminReady, "set to ready by root")
	s.reload(PoolOptions{}, "b")
	s.reload(PoolOptions{}, "b", "a")
	want(t, "after ready", s.states(), "up up")
	if n := s.Notes(); len(n) != 0 {
		t.Errorf("notes %+v, want none", n)
	}
}

// After maintenance a backend serves from its first good probe on, as one that is new.
func TestReadyAfterMaintIsProbedFirst(t *testing.T) {
	s := set(t, PoolOptions{Probed: true}, "a", "b")
	a := s.named("a")
	s.SetAdmin(a, AdminMaint, "set to maint by root")
	s.SetAdmin(a, AdminReady, "set to ready by root")
	got := s.Snapshot()[0]
	if got.State != Down || !got.Health.Unproven || got.Reason != "not probed since its maintenance" {
		t.Errorf("a is %s (%s), want down and not probed", got.State, got.Reason)
	}
	s.Probed(a, health.Verdict{Err: fmt.Errorf("refused")})
	want(t, "after a bad probe", s.states(), "down up")
	s.Probed(a, health.Verdict{})
	want(t, "after a good one", s.states(), "up up")
	want(t, "reason", s.Snapshot()[0].Reason, "its first probe passed")
}

// Health, what an operator says, and why a backend is in its state are three things.
func TestReasonIsThatOfTheState(t *testing.T) {
	s := set(t, PoolOptions{Probed: true}, "a", "b")
	a := s.named("a")
	for _, step := range []struct {
		do           func()
		state        State
		reason       string
		healthReason string
	}{
		{func() {}, Up, "taken as up", "not probed yet"},
		{func() { s.Probed(a, health.Verdict{}) }, Up, "its probes pass", "its probes pass"},
		{func() { s.SetUp(a, false, "3 of 3 probes failed: refused") }, Down, "3 of 3 probes failed: refused", "3 of 3 probes failed: refused"},
		{func() { s.SetAdmin(a, AdminDrain, "set to drain by root") }, Drain, "set to drain by root", "3 of 3 probes failed: refused"},
		{func() { s.SetAdmin(a, AdminReady, "set to ready by root") }, Down, "3 of 3 probes failed: refused", "3 of 3 probes failed: refused"},
		{func() { s.SetUp(a, true, "2 of 2 probes passed") }, Up, "2 of 2 probes passed", "2 of 2 probes passed"},
		{func() { s.SetAdmin(a, AdminDrain, "set to drain by root") }, Drain, "set to drain by root", "2 of 2 probes passed"},
		{func() { s.SetUp(a, false, "3 of 3 probes failed: refused") }, Drain, "set to drain by root", "3 of 3 probes failed: refused"},
		{func() { s.SetUp(a, true, "2 of 2 probes passed") }, Drain, "set to drain by root", "2 of 2 probes passed"},
		{func() { s.SetAdmin(a, AdminReady, "set to ready by root") }, Up, "set to ready by root", "2 of 2 probes passed"},
		{func() { s.reload(PoolOptions{Probed: true}, "a weight=0", "b") }, Drain, "its weight is 0", "2 of 2 probes passed"},
		{func() { s.reload(PoolOptions{Probed: true}, "a disabled", "b") }, Disabled, "disabled in the configuration", "2 of 2 probes passed"},
		{func() { s.reload(PoolOptions{Probed: true}, "a", "b") }, Up, "its configuration was changed", "2 of 2 probes passed"},
	} {
		step.do()
		got := s.Snapshot()[0]
		if got.State != step.state || got.Reason != step.reason || got.Health.Reason != step.healthReason {
			t.Fatalf("got %s (%s), health %q; want %s (%s), health %q",
				got.State, got.Reason, got.Health.Reason, step.state, step.reason, step.healthReason)
		}
	}
}

// The event says the reason of the state, and what caused the change behind it, if that is something else.
func TestEventTellsReasonAndCause(t *testing.T) {
	s := set(t, PoolOptions{Probed: true}, "a", "b")
	a := s.named("a")
	s.SetAdmin(a, AdminDrain, "set to drain by root")
	s.SetUp(a, false, "3 of 3 probes failed: refused")
	s.SetAdmin(a, AdminReady, "set to ready by root")
	var got []string
	for _, e := range s.events {
		got = append(got, e.Reason)
	}
	want(t, "reasons", fmt.Sprint(got), "[set to drain by root 3 of 3 probes failed: refused (set to ready by root)]")
}

// Whatever kept a backend, it starts slowly when it comes back; and so does a new one.
func TestSlowStartAfterAnything(t *testing.T) {
	o := PoolOptions{SlowStart: 10 * time.Second, Passive: threeIn10}
	for _, c := range []struct {
		name string
		back func(s *stage)
	}{
		{"drain, ready", func(s *stage) {
			s.SetAdmin(s.named("b"), AdminDrain, "test")
			s.SetAdmin(s.named("b"), AdminReady, "test")
		}},
		{"maint, ready", func(s *stage) {
			s.SetAdmin(s.named("b"), AdminMaint, "test")
			s.SetAdmin(s.named("b"), AdminReady, "test")
		}},
		{"weight 0, 1", func(s *stage) { s.reload(o, "a", "b weight=0"); s.reload(o, "a", "b") }},
		{"disabled", func(s *stage) { s.reload(o, "a", "b disabled"); s.reload(o, "a", "b") }},
		{"down, up", func(s *stage) { s.step("b", "down"); s.step("b", "up") }},
		{"ejected", func(s *stage) { s.fail("b", 3, FailureRefused); s.step("", "31") }},
		{"removed, added", func(s *stage) { s.reload(o, "a"); s.reload(o, "a", "b") }},
		{"new, and probed", func(s *stage) {
			p := o
			p.Probed = true
			s.reload(p, "a")
			s.reload(p, "a", "b")
			s.Probed(s.named("b"), health.Verdict{})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := set(t, o, "a", "b")
			s.now = time.Second
			c.back(s)
			s.now += time.Second // a tenth of the time
			if got := s.Snapshot()[1].Weight; got != 10 {
				t.Errorf("weight %d, want 10 of 100", got)
			}
			s.now += 10 * time.Second
			if got := s.Snapshot()[1].Weight; got != 100 {
				t.Errorf("weight in the end %d, want 100", got)
			}
		})
	}
	t.Run("not at the start", func(t *testing.T) {
		s := set(t, o, "a", "b")
		if got := s.Snapshot()[1].Weight; got != 100 {
			t.Errorf("weight %d, want 100", got)
		}
	})
	t.Run("not what another process knew to be up", func(t *testing.T) {
		s := set(t, o, "a", "b down")
		s.Restore(s.named("b"), Health{Up: true, Reason: "2 of 2 probes passed"})
		if got := s.Snapshot()[1]; got.Weight != 100 || got.State != Up {
			t.Errorf("%s with weight %d, want up with 100", got.State, got.Weight)
		}
	})
}

// An ejection ends with so many good probes in a row, and lasts longer each time.
func TestEjectionEndsWithProbes(t *testing.T) {
	o := PoolOptions{Probed: true, Passive: threeIn10}
	o.Passive.Rise = 2
	s := set(t, o, "a", "b")
	a := s.named("a")
	s.fail("a", 3, FailureRefused)
	s.Probed(a, health.Verdict{})
	s.Probed(a, health.Verdict{Err: fmt.Errorf("refused")})
	s.Probed(a, health.Verdict{})
	want(t, "two good ones, not in a row", s.states(), "ejected up")
	s.told()
	s.Probed(a, health.Verdict{})
	want(t, "told", s.told(), "a ejected>up 2/2")
	want(t, "reason", s.Snapshot()[0].Reason, "2 probes passed since it was ejected")
}

func TestEjectionsThatRepeatGrow(t *testing.T) {
	o := threeIn10 // 30 s
	o.Failures, o.EjectForMax = 1, 100*time.Second
	s := set(t, PoolOptions{Passive: o}, "a", "b")
	s.now = time.Hour
	eject := func(want time.Duration) {
		t.Helper()
		s.step("a", "fail")
		if got := s.named("a").ejection.until - s.now; got != want {
			t.Fatalf("ejected for %v, want %v", got, want)
		}
		s.now += want
		s.Snapshot()
	}
	eject(30 * time.Second)
	eject(60 * time.Second)
	eject(100 * time.Second)
	eject(100 * time.Second)
	s.now += 65 * time.Second // two times 30 s without an ejection
	eject(100 * time.Second)  // the third, which would be 120 s
	s.now += 5 * 30 * time.Second
	eject(30 * time.Second)
}

// A session that the backend ends before it has sent a byte counts as a failure, where that is wanted.
func TestEarlyEndEjects(t *testing.T) {
	o := threeIn10
	for _, o.EarlyEnd = range []bool{true, false} {
		s := set(t, PoolOptions{Passive: o}, "a", "b")
		for range 3 {
			l := s.take("b")
			if got := l.CountsEarlyEnd(); got != o.EarlyEnd {
				t.Errorf("counts: got %v, want %v", got, o.EarlyEnd)
			}
			l.EndedEarly()
			l.Release()
		}
		states, early := "up up", uint64(0)
		if o.EarlyEnd {
			states, early = "ejected up", 3
		}
		want(t, "states", s.states(), states)
		if got := s.Snapshot()[0]; got.Totals.EarlyEnds != early || got.Active != 0 {
			t.Errorf("%d early ends and %d sessions, want %d and 0", got.Totals.EarlyEnds, got.Active, early)
		}
	}
}

// A backup that is there for that serves when the others are at their limit.
func TestBackupWhenFull(t *testing.T) {
	for _, c := range []struct {
		name     string
		backends []string
		without  []string
		want     string
	}{
		{"when all are full", []string{"a max=1", "x backup=full max=1"}, nil, "a x: full"},
		{"not one that is there for less", []string{"a max=1", "x backup=full max=1", "y backup"}, nil, "a x: full"},
		{"before one that is there for less", []string{"a down", "y backup max=1", "x backup=full max=1"}, nil, "x: full"},
		{"that, when there is no other", []string{"a down", "y backup max=1", "x backup=full down"}, nil, "y: full"},
		{"when what is not full was tried", []string{"a", "b max=1", "x backup=full max=1"}, []string{"a"}, "b x a a a a a a a a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := set(t, PoolOptions{}, c.backends...)
			var got []string
			end := ""
			for range 10 {
				l, _, err := s.Acquire(s.request(c.without...))
				if err != nil {
					end = map[error]string{ErrFull: ": full", ErrNoBackend: ": none"}[err]
					break
				}
				got = append(got, l.Backend().Name())
			}
			want(t, "picks", fmt.Sprint(got)+end, "["+c.want[:len(c.want)-len(end)]+"]"+end)
		})
	}
}

// What Why says of backups is what Acquire does.
func TestWhyOfBackups(t *testing.T) {
	s := set(t, PoolOptions{ManualFailback: true}, "a max=1", "x backup=full", "y backup")
	r := s.request()
	w := s.Why(r)
	want(t, "free", w.Backend.Name()+", "+string(w.Others[0].Cause)+", "+string(w.Others[1].Cause), "a, backup, backup")
	s.take()
	w = s.Why(r)
	want(t, "full", w.Backend.Name()+", "+string(w.Others[0].Cause)+", "+string(w.Others[1].Cause), "x, full, backup")
	s.step("a", "down")
	s.step("a", "up")
	w = s.Why(r)
	want(t, "failed over", w.Backend.Name()+", "+string(w.Others[0].Cause), "x, failover")
}

// Sessions stay with the backups until an operator says so.
func TestManualFailback(t *testing.T) {
	o := PoolOptions{ManualFailback: true}
	s := set(t, o, "a", "x backup", "y backup")
	want(t, "at first", s.picks(2), "a a")
	s.step("a", "down")
	want(t, "when it is down", s.picks(2), "x y")
	if !s.FailedOver() {
		t.Error("it has not failed over")
	}
	s.step("a", "up")
	want(t, "when it is up again", s.picks(2), "x y")
	s.reload(o, "a weight=2", "x backup", "y backup")
	want(t, "after a reload", s.picks(2), "x y")
	if !s.Failback() {
		t.Error("there was nothing to fail back")
	}
	want(t, "after failback", s.picks(2), "a a")
	if s.Failback() {
		t.Error("it has failed back twice")
	}
	s.step("a", "down")
	s.step("a", "up")
	s.step("x", "down")
	s.step("y", "down")
	want(t, "when no backup is usable", s.picks(2), "a a")
	s.step("x", "up")
	want(t, "when one is again", s.picks(2), "a a")
	s.step("a", "down")
	s.step("a", "up")
	s.reload(PoolOptions{}, "a", "x backup", "y backup")
	want(t, "when it is not manual any more", s.picks(2), "a a")
}

// The backups do not take over for a while only because they are probed first.
func TestManualFailbackAtTheStart(t *testing.T) {
	s := set(t, PoolOptions{ManualFailback: true}, "a down", "x backup down")
	s.step("x", "up")
	s.step("a", "up")
	want(t, "picks", s.picks(2), "a a")
}

// A backend that gets no new sessions says when its last one has ended.
func TestDrainedIsTold(t *testing.T) {
	s := set(t, PoolOptions{}, "a", "b", "c", "d")
	var held []Lease
	for range 8 {
		held = append(held, s.take())
	}
	s.SetAdmin(s.named("a"), AdminDrain, "test")
	s.SetAdmin(s.named("b"), AdminMaint, "test")
	s.reload(PoolOptions{}, "a", "b", "c weight=0")
	s.told()
	for i := range held[:4] {
		held[i].Release()
	}
	want(t, "told when each has one left", s.told(), "")
	for i := range held[4:] {
		held[4+i].Release()
	}
	want(t, "told", s.told(), "a drain 0 left, b maint 0 left, c drain 0 left, d removed 0 left")
}

// B64: a reload of weights or members after each connection gives each backend its share.
func TestB64TurnSurvives(t *testing.T) {
	for _, strategy := range []string{"cyclic", "least-connections", "two-choices", "least-latency"} {
		for _, c := range []struct {
			name  string
			lines func(i int) []string
			of    []string // backends that get the same
		}{
			{"weights", func(i int) []string { return []string{"a", "b", "c", fmt.Sprintf("d weight=%d", 1+i%2)} }, []string{"a", "b", "c"}},
			{"members", func(i int) []string { return []string{"a", "b", "c", fmt.Sprintf("new%d", i)} }, []string{"a", "b", "c"}},
			{"comes and goes", func(i int) []string { return append([]string{"a", "b", "c"}, []string{"d"}[i%2:]...) }, []string{"a", "b", "c"}},
		} {
			if strategy == "least-latency" && c.name == "members" {
				continue // which tries each new one first
			}
			t.Run(strategy+"/"+c.name, func(t *testing.T) {
				o := PoolOptions{Strategy: strategy}
				s := set(t, o, "a", "b", "c", "d")
				got := map[string]int{}
				const n = 1000
				for i := range n {
					s.now += time.Millisecond
					l := s.take()
					got[l.Backend().Name()]++
					l.Connected(time.Millisecond)
					l.Release()
					s.reload(o, c.lines(i)...)
				}
				sum := 0
				for _, name := range c.of {
					sum += got[name]
				}
				for _, name := range c.of {
					share := float64(sum) / float64(len(c.of))
					tolerance := 0.05
					if strategy == "two-choices" {
						tolerance = 0.25 // chance
					}
					if d := float64(got[name]) - share; d > share*tolerance+1 || d < -share*tolerance-1 {
						t.Errorf("%s got %d sessions, want %.0f within %.0f %%; in all %v", name, got[name], share, 100*tolerance, got)
					}
				}
				if sum < n/2 {
					t.Errorf("the three that stay got %d of %d sessions: %v", sum, n, got)
				}
			})
		}
	}
}
