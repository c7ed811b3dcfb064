package admin

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"weir/backend"
	"weir/balancer"
	"weir/frontend"
)

// Why tells what a connection from that client would get now: at each listening address, but in one answer for those of a
// frontend that make no difference.
func (r *Running) Why(_ context.Context, client, name, bind string) ([]Why, error) {
	addr, err := parseAddr(client)
	if err != nil {
		return nil, err
	}
	var list []Why
	var known []string // listeners of the frontends that were meant
	for _, v := range r.Balancer.Views() {
		if name != "" && name != v.Name {
			continue
		}
		all := listeners(&v)
		for _, group := range byClass(&v, addr, all, bind) {
			list = append(list, why(&v, addr, group))
		}
		for _, l := range all {
			known = append(known, l.at)
		}
	}
	switch {
	case len(known) == 0:
		return nil, NotFound("no frontend %s", name)
	case len(list) == 0 && name != "":
		return nil, NotFound("frontend %s does not listen at %s: it does at %s", name, bind, strings.Join(known, ", "))
	case len(list) == 0:
		return nil, NotFound("no frontend listens at %s: they do at %s", bind, strings.Join(known, ", "))
	}
	return list, nil
}

// listener is a listening address of a frontend: as the file has it, and where it really is.
type listener struct {
	frontend.Bind
	written, at string
}

func (l *listener) is(bind string) bool { return bind == "" || bind == l.written || bind == l.at }

func listeners(v *balancer.View) (list []listener) {
	free := slices.Clone(v.Addrs) // in no particular order
	for _, a := range v.Config.BindOn {
		network, address := a.Listen()
		l := listener{frontend.Bind{Network: network, Address: address}, a.String(), a.String()}
		if i := slices.IndexFunc(free, func(there net.Addr) bool { return sameListener(address, there) }); i >= 0 {
			l.at = free[i].String()
			free = slices.Delete(free, i, i+1)
		}
		list = append(list, l)
	}
	return list
}

// sameListener says whether a listener can be what an address of the file asks for: port 0 is any, no host all.
func sameListener(written string, there net.Addr) bool {
	is, ok := there.(*net.TCPAddr)
	host, port, err := net.SplitHostPort(written)
	if !ok || err != nil || port != "0" && port != strconv.Itoa(is.Port) {
		return false
	}
	want, err := netip.ParseAddr(host)
	got := is.AddrPort().Addr().Unmap()
	switch {
	case host == "":
		return got.IsUnspecified()
	case err != nil: // localhost
		return got.IsLoopback()
	}
	return got == want.Unmap()
}

// group is listeners at which a client is of one class.
type group struct {
	class int
	at    []string
}

// byClass groups the listeners that are meant.
func byClass(v *balancer.View, client netip.Addr, all []listener, bind string) (list []group) {
	at := map[int]int{} // places in list
	for i := range all {
		if !all[i].is(bind) {
			continue
		}
		class := v.Rules.Admission.Classes.Of(client, all[i].Bind)
		n, ok := at[class]
		if !ok {
			n = len(list)
			at[class] = n
			list = append(list, group{class: class})
		}
		list[n].at = append(list[n].at, all[i].at)
	}
	return list
}

func why(v *balancer.View, addr netip.Addr, g group) Why {
	w := Why{Frontend: v.Name, Listeners: g.at, Client: addr.String(), Admitted: true, Limits: limits(v), Backends: []WhyBackend{}}
	w.AdmittedWhy = "no access list"
	if access := v.Rules.Admission.Access; access != nil {
		w.AdmittedWhy = "the access list lets it in"
		if w.Admitted = access.Allowed(addr); !w.Admitted {
			w.AdmittedWhy, w.Result = "the access list does not let it in", "is refused: denied"
			return w
		}
	}
	request := backend.NewRequest(addr)
	request.Class = g.class
	p := v.Pool.Why(&request)
	if len(v.Config.Classes) > 0 {
		w.Class = p.Class.Name
	}
	if p.Backend != nil {
		w.Backend, w.Result = p.Backend.Name(), "goes to "+p.Backend.Name()
		w.Backends = append(w.Backends, WhyBackend{w.Backend, true, p.Reason})
	} else {
		w.Result = strings.TrimSpace("gets none now: " + p.Reason)
	}
	for _, n := range p.Others {
		w.Backends = append(w.Backends, WhyBackend{n.Backend.Name(), false, strings.TrimSuffix(string(n.Cause)+": "+n.Detail, ": ")})
	}
	return w
}

// limits are those that hold for every client, in words.
func limits(v *balancer.View) []string {
	list := []string{}
	c := v.Config
	add := func(n int, what string) {
		if n > 0 {
			list = append(list, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(c.MaxSessions, "sessions of this frontend")
	add(c.MaxConnections, "sessions of its backends together")
	add(c.Client.MaxSessions, "sessions of one client")
	if c.Rate.Sessions > 0 {
		list = append(list, fmt.Sprintf("%g new sessions a second", c.Rate.Sessions))
	}
	if c.Client.Rate > 0 {
		list = append(list, fmt.Sprintf("%g new sessions a second of one client", c.Client.Rate))
	}
	return list
}
