package remote

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"weir/balancer/admin"
)

// anyNumber of operands.
const anyNumber = 1000

const (
	named      = "BACKEND is a name, or frontend/name."
	untilSaved = "The change lasts until 'weir reload', or for good with 'weir save'.\n" + named
	untilReady = "'weir reload' does not change that.\n" + named
)

func (k *remote) backendCommands() []*cli.Command {
	return []*cli.Command{
		k.drainCommand(),
		k.stateCommand("ready", "undo drain and maint"),
		k.stateCommand("maint", "give a backend no new sessions and no probes"),
		k.numberCommand("weight", "change the share of a backend, 0 to 1000; 0: no new sessions", "from 0 to 1000", func(n *int) admin.BackendChange { return admin.BackendChange{Weight: n} }),
		k.numberCommand("limit", "change the most sessions of a backend; 0 or none: no limit", "of 0 or more, nor none", func(n *int) admin.BackendChange { return admin.BackendChange{Limit: n} }),
		k.addCommand(),
		k.removeCommand(),
	}
}

func (k *remote) stateCommand(state, usage string) *cli.Command {
	return k.command(state, usage, "BACKEND...", untilReady, 1, anyNumber, func(c *cli.Context, operands []string) error {
		return k.each(c, operands, setState(c, state))
	}, jsonFlag(), doorFlags())
}

// setState returns what sets a backend to a state.
func setState(c *cli.Context, state string) change {
	return func(client *admin.Client, p place) (admin.Backend, error) {
		return client.SetBackend(c.Context, p.frontend, p.backend, admin.BackendChange{State: &state})
	}
}

// change does something to a backend, and returns what it is then.
type change func(*admin.Client, place) (admin.Backend, error)

// each does something to every backend that was named, and shows what it is then. They are all found before
// the first is changed.
func (k *remote) each(c *cli.Context, names []string, do change) error {
	client, err := k.client(c)
	if err != nil {
		return err
	}
	s, err := client.Status(c.Context)
	if err != nil {
		return err
	}
	list, err := findAll(&s, names)
	if err != nil {
		return err
	}
	for _, p := range list {
		b, err := do(client, p)
		if err != nil {
			return err
		}
		if err := k.showBackend(c, p, &b); err != nil {
			return err
		}
	}
	return nil
}

// showBackend says in a line what a backend is after a change.
func (k *remote) showBackend(c *cli.Context, p place, b *admin.Backend) error {
	if c.Bool("json") {
		return printJSON(c, b)
	}
	line := fmt.Sprintf("%s is %s", p, b.State)
	if b.Reason != "" {
		line += " (" + b.Reason + ")"
	}
	line += fmt.Sprintf(": weight %d", b.ConfiguredWeight)
	if b.Limit > 0 {
		line += ", limit " + limitNow(b)
	}
	k.printf(c, "%s, %s now", line, count(b.Active, "session"))
	return nil
}

func (k *remote) numberCommand(name, usage, valid string, change func(*int) admin.BackendChange) *cli.Command {
	return k.command(name, usage, "BACKEND VALUE", untilSaved, 2, 2, func(c *cli.Context, operands []string) error {
		n, err := strconv.Atoi(operands[1])
		if name == "limit" && operands[1] == "none" {
			n, err = 0, nil
		}
		if err != nil || n < 0 {
			return k.BadUsage(c, "%s %q is not a whole number %s", name, operands[1], valid)
		}
		return k.each(c, operands[:1], func(client *admin.Client, p place) (admin.Backend, error) {
			return client.SetBackend(c.Context, p.frontend, p.backend, change(&n))
		})
	}, jsonFlag(), doorFlags())
}

func (k *remote) addCommand() *cli.Command {
	return k.command("add", "add a backend", "ADDRESS [--frontend FRONTEND] [--name NAME] [--weight N] [--limit N] [--backup]",
		"ADDRESS is what forward_to is in the file: IP:port, host:port or unix:/path. The backend gets\n"+
			"sessions after its first good probe.\nIt lasts until 'weir reload', or for good with 'weir save'.",
		1, 1, k.add, []cli.Flag{
			&cli.StringFlag{Name: "frontend", Usage: "behind `FRONTEND`; not needed if there is only one"},
			&cli.StringFlag{Name: "name", DefaultText: "ADDRESS", Usage: "call it `NAME`"},
			&cli.IntFlag{Name: "weight", Value: 1, Usage: "its share, `N`"},
			&cli.IntFlag{Name: "limit", DefaultText: "no limit", Usage: "at most `N` sessions at one time"},
			&cli.BoolFlag{Name: "backup", DisableDefaultText: true, Usage: "use it only while no other is usable"},
		}, jsonFlag(), doorFlags())
}

func (k *remote) add(c *cli.Context, operands []string) error {
	client, err := k.client(c)
	if err != nil {
		return err
	}
	frontend, err := k.frontend(c, client)
	if err != nil {
		return err
	}
	weight := c.Int("weight")
	b, err := client.AddBackend(c.Context, frontend, admin.NewBackend{
		Address: operands[0], Name: c.String("name"), Weight: &weight, Limit: c.Int("limit"), Backup: c.Bool("backup"),
	})
	if err != nil {
		return err
	}
	return k.showBackend(c, place{frontend, b.Name}, &b)
}

// frontend returns the one that is named, or the only one.
func (k *remote) frontend(c *cli.Context, client *admin.Client) (string, error) {
	if name := c.String("frontend"); name != "" {
		return name, nil
	}
	s, err := client.Status(c.Context)
	if err != nil {
		return "", err
	}
	if len(s.Frontends) == 1 {
		return s.Frontends[0].Name, nil
	}
	return "", k.BadUsage(c, "--frontend is missing: which of %s?", strings.Join(frontends(&s), ", "))
}

func frontends(s *admin.Status) (names []string) {
	for _, f := range s.Frontends {
		names = append(names, f.Name)
	}
	return names
}

func (k *remote) removeCommand() *cli.Command {
	return k.command("remove", "have a backend drain, and then go", "BACKEND...", untilSaved, 1, anyNumber, func(c *cli.Context, operands []string) error {
		return k.each(c, operands, func(client *admin.Client, p place) (admin.Backend, error) {
			return client.RemoveBackend(c.Context, p.frontend, p.backend)
		})
	}, jsonFlag(), doorFlags())
}
