package backend

import (
	"fmt"
	"strings"
	"testing"
)

// reload configures the stage anew.
func (s *stage) reload(o PoolOptions, backends ...string) (added, removed string) {
	s.t.Helper()
	if o.Strategy == "" {
		o.Strategy = "cyclic"
	}
	for _, line := range backends {
		o.Backends = append(o.Backends, parse(s.t, line))
	}
	a, r, err := s.Reconfigure(o)
	if err != nil {
		s.t.Fatal(err)
	}
	names := func(list []*Backend) string {
		var all []string
		for _, b := range list {
			all = append(all, b.Name())
		}
		return strings.Join(all, " ")
	}
	return names(a), names(r)
}

// A backend that stays keeps its sessions, its state, its counts and what an operator said.
func TestReconfigureKeeps(t *testing.T) {
	s := set(t, PoolOptions{}, "a", "b", "c", "d")
	s.SetUp(s.named("a"), false, "test")
	s.SetAdmin(s.named("b"), AdminMaint, "test")
	l := s.take()
	s.told()
	added, removed := s.reload(PoolOptions{}, "e", "d max=5", "b", "a weight=3")
	want(t, "added", added, "e")
	want(t, "removed", removed, "c")
	want(t, "told", s.told(), "c up>removed 2/4")
	want(t, "states, the one that left with a session last", s.states(), "up up maint down removed")
	if l.Backend().Name() != "c" {
		t.Fatalf("the session is on %s, want c", l.Backend().Name())
	}
	c := l.Backend()
	l.Release()
	want(t, "states without its session", s.states(), "up up maint down")
	s.SetUp(c, false, "a probe that was under way")
	s.SetAdmin(c, AdminDrain, "late")
	want(t, "told of the one that is gone", s.told(), "")
	if got := s.Pool.active; got != 0 {
		t.Errorf("%d sessions in the end, want 0", got)
	}
	if got := s.Snapshot()[1]; got.Max != 5 {
		t.Errorf("the limit of d is %d, want 5", got.Max)
	}
}

// A cycle goes on where it was, when nothing about its members has changed.
func TestReconfigureKeepsThePlaceInTheCycle(t *testing.T) {
	s := set(t, PoolOptions{}, "a", "b", "c")
	want(t, "before", s.picks(2), "a b")
	s.reload(PoolOptions{MaxConnections: 7}, "a", "b", "c")
	want(t, "after", s.picks(2), "c a")
}

func TestReconfigureRefusesUnknownStrategy(t *testing.T) {
	s := set(t, PoolOptions{}, "a")
	o := PoolOptions{Strategy: "astrology", Backends: []Options{parse(t, "b")}}
	if _, _, err := s.Reconfigure(o); err == nil {
		t.Error("no error")
	}
	want(t, "backends", s.picks(1), "a")
}

// Whoever waits goes on waiting, in the class of the same name or else in the last.
func TestReconfigureKeepsWaiters(t *testing.T) {
	o := QueueOptions{Size: 10, Classes: []ClassOptions{{Name: "x", Weight: 1}, {Name: "y", Weight: 1}}}
	s := set(t, PoolOptions{Queue: o}, "a max=1")
	held := s.take()
	x, y := s.ask(0, someone), s.ask(1, someone)
	o.Classes = []ClassOptions{{Name: "new", Weight: 1}, {Name: "y", Weight: 9}, {Name: "rest", Weight: 1}}
	s.reload(PoolOptions{Queue: o}, "b max=1", "a max=1")
	if x.woken != 0 && y.woken != 0 || x.woken+y.woken != 1 {
		t.Fatalf("woken %d and %d: the new backend has one slot", x.woken, y.woken)
	}
	q := s.QueueSnapshot()
	var got []string
	for _, c := range q.Classes {
		got = append(got, fmt.Sprintf("%s %d+%d", c.Name, c.Active, c.Queued))
	}
	want(t, "classes", strings.Join(got, ", "), "new 0+0, y 0+1, rest 1+0")
	s.hear(x)
	x.got.Release()
	s.hear(y)
	if !y.served() {
		t.Error("the second was not served when the first had ended")
	}
	held.Release()
	y.got.Release()
}

// What an operator says counts until he says otherwise.
func TestAdmin(t *testing.T) {
	s := set(t, PoolOptions{}, "a", "b")
	a := s.named("a")
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() { s.SetAdmin(a, AdminDrain, "bob") }, "a up>drain 1/2"},
		{func() { s.SetUp(a, false, "probe") }, ""},
		{func() { s.SetAdmin(a, AdminReady, "bob") }, "a drain>down 1/2"},
		{func() { s.SetUp(a, true, "probe") }, "a down>up 2/2"},
		{func() { s.SetAdmin(a, AdminMaint, "bob") }, "a up>maint 1/2"},
		{func() { s.SetAdmin(a, AdminReady, "bob") }, "a maint>up 2/2"},
	} {
		step.do()
		want(t, "told", s.told(), step.want)
	}
}
