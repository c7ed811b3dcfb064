package backend

import "container/heap"

// class is the sessions of one class of clients, those that are served and those that wait.
type class struct {
	name           string
	weight         int
	max, maxQueued int // 0: none
	active, queued int
	lodging        int    // sessions of other processes
	heir           *class // takes its place; nil while there is one of that name

	all     *flow            // of a class that is not fair by client
	clients map[uint64]*flow // of one that is: those that have or want a session
	waiting flows
}

// flow is the sessions of a class between which the order of arrival decides: those of one client, or all.
type flow struct {
	class       *class
	key         uint64
	active      int
	first, last *Waiter
	index       int // in class.waiting, or -1
}

func newClass(o ClassOptions, byClient bool) *class {
	c := &class{name: o.Name, weight: o.Weight, max: o.MaxConnections, maxQueued: o.MaxQueued}
	if byClient {
		c.clients = make(map[uint64]*flow)
	} else {
		c.all = &flow{class: c, index: -1}
	}
	return c
}

func (c *class) full() bool { return c.max > 0 && c.load() >= c.max }

// load is how many sessions it has, whoever counts them.
func (c *class) load() int { return c.active + c.lodging }

// before says whether c, of which somebody waits, is to be served before d: for having less of its share, or
// as its first waiter came first.
func (c *class) before(d *class) bool {
	mine, others := c.load()*d.weight, d.load()*c.weight
	if mine != others {
		return mine < others
	}
	return c.waiting[0].first.request.seq < d.waiting[0].first.request.seq
}

// flow returns the flow of a client. There is one for as long as the client has or wants a session.
func (c *class) flow(client uint64) *flow {
	if c.all != nil {
		return c.all
	}
	f := c.clients[client]
	if f == nil {
		f = &flow{class: c, key: client, index: -1}
		c.clients[client] = f
	}
	return f
}

// begin counts a session that gets a backend.
func (f *flow) begin() {
	f.class.active++
	f.active++
	f.moved()
}

// end counts one that has it no more.
func (f *flow) end() {
	f.class.active--
	f.active--
	f.moved()
	f.forget()
}

// moved puts the flow where it now belongs among those that wait.
func (f *flow) moved() {
	if f.index >= 0 {
		heap.Fix(&f.class.waiting, f.index)
	}
}

// forget drops a flow that is nobody's any more.
func (f *flow) forget() {
	if f.active == 0 && f.first == nil && f.class.clients != nil {
		delete(f.class.clients, f.key)
	}
}

// add puts w behind all that came before it: at the end, mostly.
func (f *flow) add(w *Waiter) {
	w.flow = f
	before := f.last
	for before != nil && before.request.seq > w.request.seq {
		before = before.prev
	}
	w.prev = before
	if before == nil {
		w.next, f.first = f.first, w
	} else {
		w.next, before.next = before.next, w
	}
	if w.next == nil {
		f.last = w
	} else {
		w.next.prev = w
	}
	if f.index < 0 {
		heap.Push(&f.class.waiting, f)
	} else {
		f.moved()
	}
}

func (f *flow) remove(w *Waiter) {
	if w.prev == nil {
		f.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		f.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.flow, w.prev, w.next = nil, nil, nil
	if f.first == nil {
		heap.Remove(&f.class.waiting, f.index)
		f.forget()
		return
	}
	f.moved()
}

// flows is a heap of those in which somebody waits, the one to be served first at its top.
type flows []*flow

func (s flows) Len() int { return len(s) }

func (s flows) Less(i, j int) bool {
	if s[i].active != s[j].active && s[i].class.clients != nil {
		return s[i].active < s[j].active
	}
	return s[i].first.request.seq < s[j].first.request.seq
}

func (s flows) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].index, s[j].index = i, j
}

// Push is for package heap.
func (s *flows) Push(f any) {
	f.(*flow).index = len(*s)
	*s = append(*s, f.(*flow))
}

// Pop is for package heap.
func (s *flows) Pop() any {
	n := len(*s) - 1
	f := (*s)[n]
	(*s)[n], *s = nil, (*s)[:n]
	f.index = -1
	return f
}
