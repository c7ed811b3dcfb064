package backend

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// trial is a pool that is used at random, and everybody who has asked it for a backend.
type trial struct {
	*stage
	random *rand.Rand
	open   []*hopeful // neither answered nor served to the end
	asked  int
	ended  int
	before map[string]int // sessions of whatever has a limit, before this step
	ever   []*Backend     // those that are gone, too
}

// Whatever comes: no limit is ever passed, nobody waits while a slot is free that he may have, and everybody
// is answered once.
func TestQueueProperties(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			tr := &trial{random: r, before: make(map[string]int), stage: set(t, someOptions(r), someBackends(r)...)}
			tr.ever = tr.all
			for range 3000 {
				tr.step()
				tr.check()
			}
			tr.finish()
		})
	}
}

func someOptions(r *rand.Rand) PoolOptions {
	o := PoolOptions{
		Strategy:       strategies[r.IntN(len(strategies))],
		MaxConnections: r.IntN(12), // 0: none
		Passive:        PassiveOptions{Failures: 3, Window: time.Second, EjectFor: time.Second, MaxEjected: 100},
		Queue:          QueueOptions{Size: r.IntN(40), Hold: r.IntN(2) == 0, FairByClient: r.IntN(2) == 0},
	}
	for i := range r.IntN(4) {
		o.Queue.Classes = append(o.Queue.Classes, ClassOptions{
			Name: fmt.Sprint(i), Weight: 1 + r.IntN(5), MaxConnections: r.IntN(6), MaxQueued: r.IntN(20),
		})
	}
	return o
}

func someBackends(r *rand.Rand) (list []string) {
	for i := range 1 + r.IntN(4) {
		line := fmt.Sprintf("b%d max=%d weight=%d", i, r.IntN(5), 1+r.IntN(3))
		if i > 0 && r.IntN(4) == 0 {
			line += " backup"
		}
		list = append(list, line)
	}
	return list
}

// step lets one thing happen.
func (tr *trial) step() {
	tr.now += time.Duration(tr.random.IntN(int(20 * time.Millisecond)))
	switch n := tr.random.IntN(100); {
	case n < 40:
		client := netip.AddrFrom4([4]byte{10, 0, 0, byte(tr.random.IntN(6))})
		tr.asked++
		tr.open = append(tr.open, tr.ask(tr.random.IntN(4), client))
	case n < 44:
		b := tr.all[tr.random.IntN(len(tr.all))]
		tr.SetUp(b, tr.random.IntN(2) == 0, "test")
	case n < 46:
		tr.reconfigure()
	case n < 48:
		tr.SetAdmin(tr.all[tr.random.IntN(len(tr.all))], AdminState(tr.random.IntN(3)), "test")
	case len(tr.open) > 0:
		tr.visit(tr.random.IntN(len(tr.open)))
	}
}

// reconfigure changes everything there is to change. Some backends stay, some go, some are new.
func (tr *trial) reconfigure() {
	o := someOptions(tr.random)
	for _, line := range someBackends(tr.random) {
		o.Backends = append(o.Backends, parse(tr.t, line))
	}
	added, removed, err := tr.Reconfigure(o)
	if err != nil {
		tr.t.Fatal(err)
	}
	for _, b := range added {
		if !slices.Contains(tr.ever, b) { // or it was there before, and had sessions
			tr.ever = append(tr.ever, b)
		}
	}
	for _, b := range removed {
		if b.state() != Removed {
			tr.t.Fatalf("removed %s is %s", b.id.Name, b.state())
		}
	}
}

// visit lets one of the sessions go on.
func (tr *trial) visit(i int) {
	h := tr.open[i]
	tr.hear(h)
	switch leaves := tr.random.IntN(10) == 0; {
	case h.served() && tr.random.IntN(4) == 0: // the dial fails, and is tried again
		h.request.Exclude(h.got.Backend())
		h.got.Failed(FailureRefused)
		tr.askAgain(h)
		return
	case h.served():
		h.got.Release()
	case h.err == ErrQueued && leaves:
		tr.Leave(&h.Waiter)
	case h.err == ErrQueued:
		return
	}
	tr.ended++
	tr.open = append(tr.open[:i], tr.open[i+1:]...)
}

// check holds the pool against what must be true after every step.
func (tr *trial) check() {
	tr.t.Helper()
	q := tr.QueueSnapshot()
	tr.bounded("the queue", q.Length, max(1, tr.queue.opts.Size))
	active, slot := 0, false
	tr.bounded("the pool", tr.Pool.active, tr.Pool.max)
	for i, c := range tr.queue.classes {
		tr.bounded(fmt.Sprintf("class %d %p", i, c), c.active, c.max)
	}
	for _, b := range tr.ever {
		active += b.active
		if b.removed() {
			tr.before[fmt.Sprintf("%s %p", b.id.Name, b)] = b.active
		}
	}
	for _, b := range tr.all {
		tr.bounded(fmt.Sprintf("%s %p", b.id.Name, b), b.active, b.max)
		slot = slot || b.usable() && !b.full() && (b.tier == tr.tiers[NoBackup] || tr.tiers[NoBackup].usable == 0)
	}
	if active != tr.Pool.active {
		tr.t.Fatalf("the backends have %d sessions, the pool %d", active, tr.Pool.active)
	}
	if slot = slot && !tr.full(); !slot {
		return
	}
	for _, c := range tr.queue.classes {
		if c.queued > 0 && !c.full() {
			tr.t.Fatalf("%d of class %s wait while a slot is free", c.queued, c.name)
		}
	}
}

// bounded checks that what has grown is within its limit: one that was lowered lets the surplus finish.
func (tr *trial) bounded(what string, active, limit int) {
	tr.t.Helper()
	if limit > 0 && active > limit && active > tr.before[what] {
		tr.t.Fatalf("%s has %d sessions, one more than before, and a limit of %d", what, active, limit)
	}
	tr.before[what] = active
}

// finish lets everybody end, and checks that nothing is left.
func (tr *trial) finish() {
	for range 100000 {
		if len(tr.open) == 0 {
			break
		}
		h := tr.open[0]
		tr.hear(h)
		if h.served() {
			h.got.Release()
		} else if errors.Is(h.err, ErrQueued) {
			tr.Leave(&h.Waiter)
		}
		tr.ended++
		tr.open = tr.open[1:]
	}
	q := tr.QueueSnapshot()
	if tr.ended != tr.asked || q.Length != 0 || tr.Pool.active != 0 {
		tr.t.Errorf("%d asked and %d were answered; in the end %d wait and %d have a slot",
			tr.asked, tr.ended, q.Length, tr.Pool.active)
	}
	for _, c := range tr.queue.classes {
		if c.active != 0 || c.queued != 0 || len(c.clients) != 0 {
			tr.t.Errorf("class %s has %d sessions, %d that wait and %d clients in the end", c.name, c.active, c.queued, len(c.clients))
		}
	}
}
