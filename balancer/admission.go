package balancer

import (
	"net/netip"

	"weir/backend"
	"weir/config"
	"weir/frontend"
	"weir/frontend/access"
	"weir/frontend/rate"
	"weir/frontend/refusal"
)

func queueOptions(c *config.Frontend) backend.QueueOptions {
	o := backend.QueueOptions{
		Size:         c.Queue.Size,
		Hold:         c.OnNoBackend == "hold",
		FairByClient: c.Queue.FairBy == "client",
	}
	for i := range c.Classes {
		k := &c.Classes[i]
		o.Classes = append(o.Classes, backend.ClassOptions{
			Name: k.Name, Weight: k.Weight, MaxConnections: k.MaxConnections, MaxQueued: k.MaxQueued,
		})
	}
	o.Classes = append(o.Classes, backend.ClassOptions{Name: config.DefaultClass, Weight: 1})
	return o
}

func admission(c *config.Frontend) frontend.Admission {
	k := &c.Client
	return frontend.Admission{
		Access: accessList(c),
		Rate:   rate.NewBucket(c.Rate.Sessions, c.Rate.Burst),
		Clients: rate.NewClients(rate.Options{
			Rate: k.Rate, Burst: k.Burst, MaxSessions: k.MaxSessions,
			IPv4Bits: k.IPv4Prefix, IPv6Bits: k.IPv6Prefix, Size: k.Table,
		}),
		Classes: classes(c),
	}
}

func accessList(c *config.Frontend) *access.List {
	l := access.New(c.Allowed(), c.Denied())
	if c.DeniesUnix() {
		return l.WithoutUnix()
	}
	return l
}

// classes counts as queueOptions does: those of the file, and behind them the default.
func classes(c *config.Frontend) frontend.Classes {
	k := frontend.Classes{Default: len(c.Classes), Binds: make(map[frontend.Bind]int)}
	prefixes, unix := make([][]netip.Prefix, len(c.Classes)), -1
	for i := range c.Classes {
		for _, m := range c.Classes[i].Match {
			if m.Prefix.Unix {
				unix = i
				continue
			}
			if m.Prefix.IsValid() {
				prefixes[i] = append(prefixes[i], m.Prefix.Prefix)
				continue
			}
			network, address := m.BindOn.Listen()
			k.Binds[frontend.Bind{Network: network, Address: address}] = i
		}
	}
	if k.Prefixes = access.NewClasses(prefixes); unix >= 0 {
		k.Prefixes.HaveUnix(unix)
	}
	return k
}

// refusals says how clients are let go that get no backend: when none is usable, and when all are busy.
func refusals(c *config.Frontend) (noBackend, busy frontend.Refusal, err error) {
	switch c.OnRefuse {
	case "reset":
		busy.Reset = true
	case "speak":
		if busy.Speech, err = refusal.For(c.Protocol, c.RefuseMessage); err != nil {
			return noBackend, busy, err
		}
	}
	switch c.OnNoBackend {
	case "refuse", "hold":
		noBackend = busy
	case "reset":
		noBackend.Reset = true
	}
	return noBackend, busy, nil
}
