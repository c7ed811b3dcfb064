package remote

import (
	"net/netip"
	"strings"

	"github.com/urfave/cli/v2"

	"weir/balancer/admin"
)

func (k *remote) whyCommand() *cli.Command {
	return k.command("why", "tell which backend a client would get now, and why no other", "CLIENT_IP [--frontend FRONTEND] [--bind ADDR] [--json]",
		"Where the class of a client depends on the listening address it comes to, there is an answer for\n"+
			"each class. Nothing is connected and nothing is counted: the next client gets what it would have got.",
		1, 1, k.why, []cli.Flag{
			&cli.StringFlag{Name: "frontend", DefaultText: "all", Usage: "at `FRONTEND`"},
			&cli.StringFlag{Name: "bind", DefaultText: "each that makes a difference", Usage: "at the listening address `ADDR`"},
		}, jsonFlag(), doorFlags())
}

func (k *remote) why(c *cli.Context, operands []string) error {
	ip, err := netip.ParseAddr(operands[0])
	if err != nil {
		return k.BadUsage(c, "%q is not an IP address", operands[0])
	}
	client, err := k.client(c)
	if err != nil {
		return err
	}
	list, err := client.Why(c.Context, ip.String(), c.String("frontend"), c.String("bind"))
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, list)
	}
	answers := map[string]int{}
	for _, w := range list {
		answers[w.Frontend]++
	}
	for i := range list {
		if i > 0 {
			k.printf(c, "")
		}
		k.showWhy(c, &list[i], answers[list[i].Frontend] > 1 || c.IsSet("bind"))
	}
	return nil
}

// showWhy shows one answer. One that does not hold at every listener says at which.
func (k *remote) showWhy(c *cli.Context, w *admin.Why, where bool) {
	at := w.Frontend
	if where {
		at += " (" + strings.Join(w.Listeners, ", ") + ")"
	}
	k.printf(c, "%s at frontend %s %s", w.Client, at, w.Result)
	let := "let in"
	if !w.Admitted {
		let = "not let in"
	}
	k.printf(c, "  %s: %s", let, w.AdmittedWhy)
	if w.Class != "" {
		k.printf(c, "  class %s", w.Class)
	}
	for _, line := range w.Limits {
		k.printf(c, "  %s", line)
	}
	if len(w.Backends) == 0 {
		return
	}
	t := newTable("", "BACKEND", "WHY")
	for _, b := range w.Backends {
		if b.Chosen {
			t.add(cell{"→", green}, cell{b.Backend, green}, text(b.Reason))
		} else {
			t.add(text(""), text(b.Backend), text(b.Reason))
		}
	}
	t.write(k, c, "  ")
}
