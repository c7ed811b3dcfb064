package remote

import (
	"context"

	"github.com/urfave/cli/v2"

	"weir/balancer/admin"
)

func (k *remote) failbackCommand() *cli.Command {
	return k.command("failback", "send new sessions to the backends again that are no backups", "[--json] [FRONTEND...]",
		"For frontends with failback = \"manual\" whose backups have taken over: their new sessions leave the backups, as far\n"+
			"as other backends are usable. Sessions that run stay where they are, but with on_up = \"close_backup_sessions\".\n"+
			"Without a FRONTEND: all of which that is true.",
		0, -1, func(c *cli.Context, frontends []string) error {
			client, err := k.client(c)
			if err != nil {
				return err
			}
			if len(frontends) == 0 {
				if frontends, err = failedOver(c.Context, client); err != nil {
					return err
				}
			}
			done := []admin.FailedBack{}
			for _, f := range frontends {
				d, err := client.Failback(c.Context, f)
				if err != nil {
					return err
				}
				done = append(done, d)
			}
			if c.Bool("json") {
				return printJSON(c, done)
			}
			if len(done) == 0 {
				k.printf(c, "no frontend has failed over: nothing to do")
			}
			for _, d := range done {
				k.printf(c, "%s", failedBack(&d))
			}
			return nil
		}, jsonFlag(), doorFlags())
}

// failedOver returns the frontends whose backups keep new sessions.
func failedOver(ctx context.Context, client *admin.Client) (names []string, err error) {
	s, err := client.Status(ctx)
	for _, f := range s.Frontends {
		if f.Pool.FailedOver {
			names = append(names, f.Name)
		}
	}
	return names, err
}

func failedBack(d *admin.FailedBack) string {
	if d.Changed {
		return d.Frontend + ": new sessions go to the backends again that are no backups"
	}
	return d.Frontend + ": had not failed over"
}
