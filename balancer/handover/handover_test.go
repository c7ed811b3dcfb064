//go:build linux

package handover_test

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"weir/backend"
	"weir/balancer/handover"
)

const front = "front"

// rooms is a process that has but a pool: it is let, and lets.
type rooms struct {
	*backend.Pool
	tenant   *handover.Tenant
	landlord *handover.Landlord
}

func (r *rooms) LetGo() { r.landlord.Halt() }

func (r *rooms) Reclaim() {
	r.landlord.Resume()
	r.Pool.Reclaim()
}

func (r *rooms) Cede(t *handover.Tenant, frontends []string) error {
	if slices.Contains(frontends, front) {
		r.tenant = t
		r.Pool.Cede(r)
		t.Ordered(front, r.Order())
	}
	return nil
}

func (r *rooms) Answered(q *handover.Question, a *handover.Answer) {
	if a.Backend == nil {
		r.Refused(q.Ticket, backend.ErrNoBackend)
		return
	}
	r.Granted(q.Ticket, *a.Backend, a.Class, a.Again)
}

func (r *rooms) CountBackend(id backend.ID, by int) {
	r.tenant.Count(handover.OfBackend(front, id), by)
}
func (r *rooms) CountClass(name string, by int) { r.tenant.Count(handover.OfClass(front, name), by) }
func (r *rooms) Withdraw(ticket uint64)         { r.tenant.Withdraw(ticket) }
func (r *rooms) Ask(a backend.Ask) uint64 {
	ticket, _ := r.tenant.Ask(handover.Question{Frontend: front, Backend: &a})
	return ticket
}

func (r *rooms) Frontends() []string { return []string{front} }

func (r *rooms) Count(p handover.Place, by int) {
	switch p.Kind {
	case handover.Backend:
		r.Occupy(p.ID(), by)
	case handover.Class:
		r.OccupyClass(p.Name, by)
	case handover.Order:
		r.Follow(uint64(by))
	}
}

func (r *rooms) Lodge(q *handover.Question, wake func()) handover.Lodging {
	l := &lodging{pool: r.Pool}
	l.Wake = wake
	r.Pool.Lodge(&l.Lodger, *q.Backend)
	return l
}

type lodging struct {
	backend.Lodger
	pool *backend.Pool
}

func (l *lodging) Told() (a handover.Answer, waits bool) {
	id, class, again, err := l.pool.Told(&l.Lodger)
	switch err {
	case nil:
		return handover.Answer{Backend: &id, Class: class, Again: again}, false
	case backend.ErrQueued:
		return a, true
	}
	return handover.Answer{Refused: err.Error()}, false
}

func (l *lodging) Leave() { l.pool.Dislodge(&l.Lodger) }

// town is what all processes share: the backends, and who uses them.
type town struct {
	t     *testing.T
	limit int64
	live  [2]atomic.Int64
}

func (w *town) newRooms() *rooms {
	p, err := backend.NewPool(backend.PoolOptions{
		Backends: []backend.Options{
			{Name: "0", Network: "tcp", Address: "127.0.0.1:1", Weight: 1, Up: true, MaxConnections: int(w.limit)},
			{Name: "1", Network: "tcp", Address: "127.0.0.1:2", Weight: 1, Up: true, MaxConnections: int(w.limit)},
		},
		Strategy: "least-connections",
		Queue:    backend.QueueOptions{Size: 1000},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	r := &rooms{Pool: p}
	r.landlord = handover.NewLandlord(r, nil, zerolog.Nop())
	return r
}

// session has a backend once. Each third one leaves the queue when it has to wait.
func (w *town) session(r *rooms, i int) {
	woken := make(chan struct{}, 1)
	waiter := backend.Waiter{Wake: func() { woken <- struct{}{} }}
	request := backend.NewRequest(netip.AddrFrom4([4]byte{127, 0, 0, byte(i)}))
	request.Now = r.Since()
	lease, _, err := r.Wait(&request, &waiter)
	for err == backend.ErrQueued {
		if i%3 == 0 {
			r.Leave(&waiter)
			return
		}
		select {
		case <-woken:
			lease, _, err = r.Claim(&waiter)
		case <-time.After(20 * time.Second):
			w.t.Error("nobody is served any more")
			return
		}
	}
	if err != nil {
		w.t.Errorf("a session gets no backend: %v", err)
		return
	}
	n := &w.live[lease.Backend().Name()[0]-'0']
	if now := n.Add(1); now > w.limit {
		w.t.Errorf("%d sessions on a backend that may have %d", now, w.limit)
	}
	n.Add(-1)
	lease.Release()
}

// Four processes follow each other while sessions come and go in all of them; then the newest gives up, and what is
// left comes free. No backend ever has more sessions than it may.
func TestB60NoLimitIsPassed(t *testing.T) {
	w := &town{t: t, limit: 2}
	all := []*rooms{w.newRooms()}
	var tenants []*handover.Tenant
	for range 4 {
		var sessions sync.WaitGroup
		for _, r := range all {
			for k := range 4 {
				sessions.Go(func() {
					for i := range 300 {
						w.session(r, 4*i+k)
					}
				})
			}
		}
		next := w.newRooms()
		mine, theirs, err := handover.Pair()
		if err != nil {
			t.Fatal(err)
		}
		conn, err := handover.Open(theirs)
		if err != nil {
			t.Fatal(err)
		}
		former := append([]*handover.Conn{conn}, all[len(all)-1].landlord.Halt()...)
		tenants = append(tenants, handover.NewTenant(mine, all[len(all)-1], nil))
		if err := next.landlord.Greet(former); err != nil {
			t.Fatal(err)
		}
		all = append(all, next)
		sessions.Wait()
		if n := w.live[0].Load() + w.live[1].Load(); n != 0 {
			t.Fatalf("%d sessions are left", n)
		}
	}
	for _, x := range tenants {
		x.Close()
	}
	for _, r := range all {
		for i := range 100 {
			w.session(r, 3*i+1)
		}
	}
}
