package backend

// site is an address: what holds for the server there, whatever its backends are called.
type site struct {
	members []*Backend
	// strangers counts sessions there that are on no member: on a backend that was removed and still has some, under
	// another name say, or held by another process for a backend that is no member here.
	strangers int
}

type siteKey struct{ network, address string }

func (id ID) site() siteKey { return siteKey{id.Network, id.Address} }

// siteOf returns the site of an ID, for a backend that joins it.
func (p *Pool) siteOf(id ID) *site {
	s := p.sites[id.site()]
	if s == nil {
		s = new(site)
		p.sites[id.site()] = s
	}
	return s
}

// enter makes b a member of its site: what strangers were of the same ID are its own from now on.
func (p *Pool) enter(b *Backend) {
	s := p.siteOf(b.id)
	b.site = s
	b.foreign = p.foreign[b.id]
	s.members = append(s.members, b)
	s.strangers -= b.foreign
	if p.gone[b.id] == b {
		delete(p.gone, b.id)
		s.strangers -= b.active
	}
}

// exit is the opposite of enter: what b serves is strangers' to whoever is at its address.
func (p *Pool) exit(b *Backend) {
	s := b.site
	for i, m := range s.members {
		if m == b {
			s.members = append(s.members[:i], s.members[i+1:]...)
			break
		}
	}
	s.strangers += b.active + b.foreign
	b.foreign = 0
	if b.active > 0 {
		p.gone[b.id] = b
	}
	p.forgetSite(b.id)
}

// strangerLeft counts a session less on a backend that is no member.
func (p *Pool) strangers(id ID, s *site, by int) {
	s.strangers += by
	for _, m := range s.members {
		p.inform(m)
	}
	p.forgetSite(id)
}

func (p *Pool) forgetSite(id ID) {
	if s := p.sites[id.site()]; s != nil && len(s.members) == 0 && s.strangers == 0 {
		delete(p.sites, id.site())
	}
}

// Occupy counts sessions that another process has on a backend, by that many more, or fewer: they count against its
// limit, and for strategies that go by the number of sessions. The backend need not be a member.
func (p *Pool) Occupy(id ID, by int) {
	p.mu.Lock()
	defer p.unlock()
	p.settle(p.Since())
	p.occupy(id, by)
}

func (p *Pool) occupy(id ID, by int) {
	p.lodging += by
	if p.foreign[id] += by; p.foreign[id] == 0 {
		delete(p.foreign, id)
	}
	if b := p.members[id]; b != nil {
		b.foreign += by
		p.inform(b)
		return
	}
	p.strangers(id, p.siteOf(id), by)
}
