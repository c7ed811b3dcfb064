package remote

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"weir/balancer/admin"
	"weir/config"
)

func (k *remote) planCommand() *cli.Command {
	return k.command("plan", "say what a file would change, and which sessions it would end", "-c NEW [--json] [--admin ADDR]",
		"Changes nothing. Without --admin and $WEIR_ADMIN it asks at the admin.bind_on of NEW.\n\n"+
			"Exit codes: 0 no change; 3 changes; 1 the file is wrong, or weir cannot be asked; 2 bad command line.",
		0, 0, k.plan, []cli.Flag{
			&cli.StringFlag{Name: "config", Aliases: []string{"c"}, Usage: "compare `NEW` with what runs"},
		}, jsonFlag(), proofFlags())
}

func (k *remote) plan(c *cli.Context, _ []string) error {
	file := k.Text(c, "config")
	if file == "" {
		return k.BadUsage(c, "-c NEW is missing: which file?")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	cfg, err := config.Parse(file, text) // with the name as it was given
	if err != nil {
		return err
	}
	name, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	address, opens := cmp.Or(k.Text(c, "admin"), os.Getenv("WEIR_ADMIN")), file
	if cfg.Admin.BindOn == (config.Address{}) { // what runs may still have a door
		opens = ""
	}
	client, err := k.clientAt(c, address, opens)
	if err != nil {
		return err
	}
	p, err := client.Plan(c.Context, name, text)
	if err != nil {
		return err
	}
	p.File = file
	if err := k.showPlan(c, &p, "changes", "would end"); err != nil || !p.Changed {
		return err
	}
	return changesFound
}

// showPlan lists changes.
func (k *remote) showPlan(c *cli.Context, p *admin.Plan, verb, ends string) error {
	if c.Bool("json") {
		return printJSON(c, p)
	}
	for _, w := range p.Warnings {
		fmt.Fprintln(c.App.ErrWriter, k.Printable(w))
	}
	if !p.Changed {
		k.printf(c, "%s: no change", p.File)
		return nil
	}
	k.printf(c, "%s %s:", p.File, verb)
	t := newTable("", "WHERE", "WHAT", "FROM", "TO", ">ENDS", "NOTE")
	for _, change := range p.Changes {
		sign := map[string]cell{"add": {"+", green}, "remove": {"-", red}, "change": {"~", yellow}}[change.Action]
		t.add(sign, text(whereOf(&change)), text(whatOf(&change)), text(orDash(change.From)), text(orDash(change.To)), text(limit(change.SessionsEnded)), text(change.Note))
	}
	t.write(k, c, "  ")
	k.printf(c, "%s %s", ends, count(p.SessionsEnded, "live session"))
	return nil
}

func whereOf(change *admin.Change) string {
	switch {
	case change.Backend != "":
		return place{change.Frontend, change.Backend}.String()
	case change.Frontend != "":
		return change.Frontend
	}
	return "weir"
}

func whatOf(change *admin.Change) string {
	switch {
	case change.Key != "":
		return change.Key
	case change.Backend != "":
		return "backend"
	}
	return "frontend"
}

func (k *remote) reloadCommand() *cli.Command {
	return k.command("reload", "have weir read its file again and apply it", "[--json]",
		"The file is the one that weir was started with. A file with a mistake changes nothing: the\nmistakes are listed, and the exit code is 1.",
		0, 0, func(c *cli.Context, _ []string) error {
			client, err := k.client(c)
			if err != nil {
				return err
			}
			p, err := client.Reload(c.Context)
			if err != nil {
				return err
			}
			return k.showPlan(c, &p, "reloaded, with changes", "ends")
		}, jsonFlag(), doorFlags())
}

func (k *remote) upgradeCommand() *cli.Command {
	return k.command("upgrade", "have weir start its new binary and hand over to it", "[--json]",
		"Returns when the new process is ready. If it does not become so in time, the old one goes on,\nand the exit code is 1.",
		0, 0, func(c *cli.Context, _ []string) error {
			client, err := k.client(c)
			if err != nil {
				return err
			}
			u, err := client.Upgrade(c.Context)
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c, u)
			}
			k.printf(c, "pid %d has taken over; the old process drains", u.PID)
			return nil
		}, jsonFlag(), doorFlags())
}

func (k *remote) saveCommand() *cli.Command {
	return k.command("save", "have weir write into its file what differs from it", "[--json]",
		"Writes what was changed with weight, limit, add and remove into the file, and leaves the rest of it, comments\n"+
			"included. The file as it was is kept beside it, with .old at the end. Where the file is reached through a\n"+
			"link it is what the link leads to that is written. What drain and maint said goes on, but is not in the file.",
		0, 0, func(c *cli.Context, _ []string) error {
			client, err := k.client(c)
			if err != nil {
				return err
			}
			s, err := client.Save(c.Context)
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c, s)
			}
			k.printf(c, "%s: saved %s", s.File, count(len(s.Saved), "change"))
			for _, d := range s.Saved {
				k.printf(c, "  %s", saved(&d))
			}
			if s.Rewritten {
				k.printf(c, "the whole file was written anew: its comments are in %s", s.Kept)
			}
			return nil
		}, jsonFlag(), doorFlags())
}

func saved(d *admin.Difference) string {
	where := place{d.Frontend, d.Backend}.String()
	if d.File == "" && d.Now == "" {
		return where + " " + d.What
	}
	return fmt.Sprintf("%s: %s = %s (was %s)", where, d.What, d.Now, d.File)
}
