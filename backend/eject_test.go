package backend

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// threeIn10 ejects for 30 s with the third failure within 10 s, and never more than half.
var threeIn10 = PassiveOptions{Failures: 3, Window: 10 * time.Second, EjectFor: 30 * time.Second, MaxEjected: 50}

func TestEjection(t *testing.T) {
	s := set(t, PoolOptions{Passive: threeIn10}, "a", "b")
	s.fail("a", 2, FailureRefused)
	want(t, "after 2 failures", s.states(), "up up")
	s.fail("a", 1, FailureTimeout)
	want(t, "after 3", s.states(), "ejected up")
	want(t, "told", s.told(), "a up>ejected 1/2")
	want(t, "reason", s.Snapshot()[0].Reason, "3 connections failed within 10s, the last: timed out")
	want(t, "picks", s.picks(3), "b b b")
	want(t, "picks without b", s.picks(2, "b"), "b b") // again, rather than an ejected one

	s.now = 30*time.Second - 1
	want(t, "just before its time is over", s.picks(2), "b b")
	want(t, "told", s.told(), "")
	s.now++
	want(t, "then", s.picks(4), "a b a b")
	want(t, "told", s.told(), "a ejected>up 2/2")
	want(t, "reason", s.Snapshot()[0].Reason, "its time out is over")
	s.fail("a", 2, FailureRefused)
	want(t, "after 2 more failures", s.states(), "up up") // it began anew
}

func TestEjectionWindow(t *testing.T) {
	for _, c := range []struct {
		at   []time.Duration // of the failures, in seconds
		want string
	}{
		{[]time.Duration{0, 5, 10}, "ejected up"},
		{[]time.Duration{0, 5, 11}, "up up"},
		{[]time.Duration{0, 5, 11, 15}, "ejected up"},
	} {
		s := set(t, PoolOptions{Passive: threeIn10}, "a", "b")
		for _, at := range c.at {
			s.now = at * time.Second
			s.fail("a", 1, FailureRefused)
		}
		want(t, fmt.Sprintf("failures at %v", c.at), s.states(), c.want)
	}
}

// What is our own want, or the client's doing, is counted and ejects nobody.
func TestOnlyTheBackendsOwnFailuresEject(t *testing.T) {
	for f := range numFailures {
		s := set(t, PoolOptions{Passive: threeIn10}, "a", "b")
		s.fail("a", 3, f)
		state := "ejected up"
		if f == FailureResource || f == FailureCanceled {
			state = "up up"
		}
		want(t, f.String(), s.states(), state)
		if got := s.Snapshot()[0].Totals.Failed[f]; got != 3 {
			t.Errorf("%v: counted %d, want 3", f, got)
		}
	}
}

func TestEjectionOff(t *testing.T) {
	for _, o := range []PassiveOptions{
		{Failures: 0, Window: time.Hour, EjectFor: time.Hour, MaxEjected: 100},
		{Failures: 1, Window: time.Hour, EjectFor: time.Hour, MaxEjected: 0},
	} {
		s := set(t, PoolOptions{Passive: o}, "a", "b")
		s.fail("a", 50, FailureRefused)
		want(t, fmt.Sprintf("%+v", o), s.states(), "up up")
	}
}

// A lease of before may fail after: one that is out already is not put out again.
func TestFailureOfAnEjected(t *testing.T) {
	o := threeIn10
	o.Failures, o.MaxEjected = 1, 100
	s := set(t, PoolOptions{Passive: o}, "a", "b")
	first, second := s.take("b"), s.take("b")
	first.Failed(FailureRefused)
	s.now = 29 * time.Second
	second.Failed(FailureRefused)
	want(t, "told", s.told(), "a up>ejected 1/2")
	s.now = 30 * time.Second
	want(t, "when its first time is over", s.states(), "up up")
}

// The probes outrank the ejection, both ways.
func TestProbesAndEjection(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps string // fail, down, up: of a; or seconds that pass
		want  string
	}{
		{"probes end an ejection", "fail down up", "a up>ejected 1/2, a ejected>down 1/2, a down>up 2/2"},
		{"a return does not wait for its time", "fail 10 down 10 up 20", "a up>ejected 1/2, a ejected>down 1/2, a down>up 2/2"},
		{"its time is over while it is down", "fail down 30 up", "a up>ejected 1/2, a ejected>down 1/2, a down>up 2/2"},
		{"good verdicts that change nothing end none", "fail up", "a up>ejected 1/2"},
		{"ejected again after all that", "fail down up fail 30", "a up>ejected 1/2, a ejected>down 1/2, a down>up 2/2, a up>ejected 1/2, a ejected>up 2/2"},
		{"said twice", "down down up up", "a up>down 1/2, a down>up 2/2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := threeIn10
			o.Failures = 1
			s := set(t, PoolOptions{Passive: o}, "a", "b")
			for _, step := range strings.Fields(c.steps) {
				s.step("a", step)
			}
			want(t, "told", s.told(), c.want)
		})
	}
}

// step does what the word says.
func (s *stage) step(name, word string) {
	switch word {
	case "fail":
		l := s.forceLease(name)
		l.Failed(FailureRefused)
	case "down", "up":
		s.SetUp(s.named(name), word == "up", "the probes say so")
	default:
		var seconds time.Duration
		fmt.Sscan(word, &seconds)
		s.now += seconds * time.Second
		s.Snapshot()
	}
}

// forceLease returns a lease as if it had been given before all that happened since.
func (s *stage) forceLease(name string) Lease {
	return s.grant(s.named(name), s.request(), s.now)
}

// The order of ejection is that of return, also for one that the probes brought back in between.
func TestReturnsInTime(t *testing.T) {
	o := threeIn10
	o.Failures, o.MaxEjected = 1, 100
	s := set(t, PoolOptions{Passive: o}, "a", "b", "c")
	s.step("a", "fail")
	s.step("", "1")
	s.step("b", "fail")
	s.step("a", "down")
	s.step("a", "up")
	s.step("", "1")
	s.step("a", "fail") // again, and now after b
	s.told()
	s.step("", "29")
	want(t, "at 31 s", s.told(), "b ejected>up 2/3")
	s.step("", "1")
	want(t, "at 32 s", s.told(), "a ejected>up 3/3")
}

// B36: every backend fails at once.
func TestPanicRule(t *testing.T) {
	for _, c := range []struct {
		backends string // those that fail: a, b, c, …; the words of the others
		most     int
		want     string
	}{
		{"a b c d", 50, "ejected ejected up up"},
		{"a b c d", 49, "ejected up up up"},
		{"a b c d", 24, "up up up up"},
		{"a b c d", 100, "ejected ejected ejected ejected"},
		{"a b c d", 0, "up up up up"},
		{"a b c", 50, "ejected up up"},
		{"a", 50, "up"},
		{"a", 99, "up"},
		{"a", 100, "ejected"},
		{"a b", 50, "ejected up"},
		{"a b c d,down", 50, "ejected up up down"}, // what probes took out counts
		{"a b c,down d,down", 50, "up up down down"},
		{"a b c,down d,down", 75, "ejected up down down"},
		{"a b c,disabled d,weight=0", 50, "ejected up disabled drain"}, // what was never to serve does not
		{"a b c,backup d,backup", 50, "ejected ejected up up"},         // backups are part of the pool
	} {
		o := threeIn10
		o.Failures, o.MaxEjected = 1, c.most
		var lines []string
		for _, word := range strings.Fields(c.backends) {
			lines = append(lines, strings.ReplaceAll(word, ",", " "))
		}
		s := set(t, PoolOptions{Passive: o}, lines...)
		for range 3 {
			for _, b := range s.all {
				if b.usable() {
					s.step(b.id.Name, "fail")
				}
			}
		}
		want(t, fmt.Sprintf("%s at %d", c.backends, c.most), s.states(), c.want)
	}
}

// When probes take one more out, ejected ones come back for it: the longest ejected first, and no
// more than are needed.
func TestPanicRuleBringsBack(t *testing.T) {
	for _, c := range []struct {
		name  string
		most  int
		steps []string
		want  string
		told  string // of the last step
	}{
		{"none needed", 75, []string{"a fail", "b down"}, "ejected down up up", "b up>down 2/4"},
		{"one needed", 50, []string{"b fail", "a fail", "c down"}, "ejected up down up",
			"b ejected>up 3/4, c up>down 2/4"},
		{"one after the other", 50, []string{"b fail", "a fail", "c down", "d down"}, "up up down down",
			"a ejected>up 3/4, d up>down 2/4"},
		{"an ejected one goes down: nobody new is lost", 50, []string{"a fail", "b fail", "a down"},
			"down ejected up up", "a ejected>down 2/4"},
		{"one that is down too cannot help", 50, []string{"a fail", "b fail", "a down", "c down"},
			"down up down up", "b ejected>up 3/4, c up>down 2/4"},
		{"the last but the ejected goes down", 99, []string{"a fail", "b fail", "c fail", "d down"},
			"up ejected ejected down", "a ejected>up 2/4, d up>down 1/4"},
		{"all down is all down", 50, []string{"a down", "b down", "c down", "d down"}, "down down down down", "d up>down 0/4"},
		{"100 means it", 100, []string{"a fail", "b fail", "c fail", "d down"}, "ejected ejected ejected down", "d up>down 0/4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := threeIn10
			o.Failures, o.MaxEjected = 1, c.most
			s := set(t, PoolOptions{Passive: o}, "a", "b", "c", "d")
			for _, step := range c.steps {
				s.told()
				name, word, _ := strings.Cut(step, " ")
				s.step(name, word)
			}
			want(t, "told", s.told(), c.told)
			want(t, "states", s.states(), c.want)
		})
	}
}

// Every sequence of four events on three backends, and many long ones at random: what must hold
// always holds.
func TestPanicRuleAlways(t *testing.T) {
	words := []string{"a fail", "b fail", "c fail", "a down", "b down", "c down", "a up", "b up", "c up", " 20"}
	for _, most := range []int{0, 33, 34, 50, 66, 67, 99, 100} {
		for k := range 10 * 10 * 10 * 10 {
			v := newVigil(t, most, "a", "b", "c")
			for range 4 {
				v.step(words[k%10])
				k /= 10
			}
		}
		v := newVigil(t, most, "a", "b", "c", "d backup", "e weight=0", "f disabled", "g", "h down")
		r := rand.New(rand.NewPCG(uint64(most), 5))
		for range 5000 {
			name := v.all[r.IntN(len(v.all))].id.Name
			v.step([]string{name + " fail", name + " fail", name + " down", name + " up", name + " up", " 7"}[r.IntN(6)])
		}
	}
}

// vigil watches that a pool never says or does what it must not.
type vigil struct {
	*stage
	most  int
	known map[*Backend]State // from the events alone
}

func newVigil(t *testing.T, most int, backends ...string) *vigil {
	o := threeIn10
	o.Failures, o.MaxEjected = 1, most
	v := &vigil{set(t, PoolOptions{Passive: o}, backends...), most, map[*Backend]State{}}
	for _, b := range v.all {
		v.known[b] = b.state()
	}
	return v
}

func (v *vigil) step(step string) {
	name, word, _ := strings.Cut(step, " ")
	v.stage.step(name, word)
	alarm := v.events != nil && slices.ContainsFunc(v.events, func(e Event) bool { return e.Usable == 0 })
	v.follow(step)
	usable, total := v.count()
	if alarm && usable > 0 {
		v.t.Fatalf("%s: said that none was usable, with %d of %d", step, usable, total)
	}
	for _, s := range v.Snapshot() {
		if s.State == Ejected && (total-usable)*100 > v.most*total {
			v.t.Fatalf("%s: %s is ejected with %d of %d usable, at most %d%% ejected", step, s.Backend.id.Name, usable, total, v.most)
		}
	}
}

// follow takes the events and compares what they say with what is.
func (v *vigil) follow(step string) {
	for _, e := range v.events {
		if e.Drained {
			continue
		}
		if e.From != v.known[e.Backend] || e.From == e.To {
			v.t.Fatalf("%s: told of %s from %s to %s, want from %s to another", step, e.Backend.id.Name, e.From, e.To, v.known[e.Backend])
		}
		v.known[e.Backend] = e.To
		if usable, total := v.count(); e.Usable != usable || e.Total != total || e.Reason == "" {
			v.t.Fatalf("%s: told %d of %d usable because %q, want %d of %d and why", step, e.Usable, e.Total, e.Reason, usable, total)
		}
	}
	v.events = nil
	for _, s := range v.Snapshot() {
		if v.known[s.Backend] != s.State {
			v.t.Fatalf("%s: %s is %s, told was %s", step, s.Backend.id.Name, s.State, v.known[s.Backend])
		}
	}
}

func (v *vigil) count() (usable, total int) {
	for b, state := range v.known {
		if state == Up {
			usable++
		}
		if b.wanted() {
			total++
		}
	}
	return usable, total
}

// Notify is called without the lock: it may ask the pool.
func TestNotifyMayAskThePool(t *testing.T) {
	var p *Pool
	told := 0
	p, err := NewPool(PoolOptions{Strategy: "cyclic", Backends: []Options{{Name: "a", Weight: 1, Up: true}}, Notify: func(e Event) {
		told++
		if got := p.Snapshot()[0].State; got != e.To {
			t.Errorf("got %s, want %s", got, e.To)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	p.SetUp(p.Backends()[0], false, "")
	if told != 1 {
		t.Errorf("told %d times, want once", told)
	}
}
