package balancer

import (
	"net"
	"net/netip"

	"weir/config"
)

// renamed finds the frontends that have another name in a new configuration: where one of a new name listens at an
// address of one whose name is gone, they are the same. It returns the old names by the new ones.
//
// What is the same keeps its sessions, its queue, its counts and what its backends are known to have: a limit that
// began anew with the name would be passed.
func renamed(from, to *config.Config) map[string]string {
	var old map[string]string
	taken := make(map[string]bool)
	for i := range to.Frontends {
		f := &to.Frontends[i]
		if frontendNamed(from, f.Name) != nil {
			continue
		}
		for j := range from.Frontends {
			was := &from.Frontends[j]
			if frontendNamed(to, was.Name) != nil || taken[was.Name] || !meet(was, f) {
				continue
			}
			if old == nil {
				old = make(map[string]string)
			}
			old[f.Name], taken[was.Name] = was.Name, true
			break
		}
	}
	return old
}

// meet says whether two frontends have an address in common.
func meet(a, b *config.Frontend) bool {
	for i := range a.BindOn {
		for j := range b.BindOn {
			if overlap(a.BindOn[i].Address, b.BindOn[j].Address) {
				return true
			}
		}
	}
	return false
}

// overlap says whether two addresses are the same, or one takes in the other: 127.0.0.1:80 and :80.
func overlap(a, b config.Address) bool {
	if a == b {
		return true
	}
	hostA, portA, errA := net.SplitHostPort(a.Address)
	hostB, portB, errB := net.SplitHostPort(b.Address)
	return errA == nil && errB == nil && portA == portB && portA != "0" && (everywhere(hostA) || everywhere(hostB))
}

func everywhere(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

// keys holds what listeners know frontends by, by the names in a configuration. A name that is not there is its own key.
type keys map[string]string

func (k keys) of(name string) string {
	if key, ok := k[name]; ok {
		return key
	}
	return name
}

// keysOf returns the keys of a configuration: those of the parts that stay, under whatever name, and new ones.
func (b *Balancer) keysOf(cfg *config.Config, old map[string]string) keys {
	k, used := make(keys), make(map[string]bool)
	for _, p := range b.parts {
		used[p.key] = true
	}
	for i := range cfg.Frontends {
		name := cfg.Frontends[i].Name
		if p := b.heir(name, old); p != nil {
			k[name] = p.key
			continue
		}
		key := name
		for used[key] { // by one that had that name before
			key += "'"
		}
		k[name], used[key] = key, true
	}
	return k
}

// heir returns the part that goes on as the frontend of that name; nil: it is new.
func (b *Balancer) heir(name string, old map[string]string) *part {
	if was, ok := old[name]; ok {
		name = was
	}
	return b.part(name)
}
