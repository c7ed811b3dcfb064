package remote

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"weir/balancer/admin"
)

func (k *remote) eventsCommand() *cli.Command {
	return k.command("events", "show what happens, as it happens, until Ctrl-C", "-f [--json]",
		"Shows backends that change their state or are drained, reloads, changes by operators, and refused\nsessions. It begins now: what was before is in the log.",
		0, 0, k.events, []cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, DisableDefaultText: true, Usage: "go on for ever, as it does anyway"},
		}, jsonFlag(), doorFlags())
}

func (k *remote) events(c *cli.Context, _ []string) error {
	client, err := k.client(c)
	if err != nil {
		return err
	}
	lines := json.NewEncoder(c.App.Writer)
	for e, err := range client.Events(c.Context) {
		if err != nil {
			return err
		}
		if !c.Bool("json") {
			k.showEvent(c, &e)
		} else if err := lines.Encode(e); err != nil {
			return err // nobody reads on
		}
	}
	return nil
}

// showEvent writes a line: when, where, what.
func (k *remote) showEvent(c *cli.Context, e *admin.Event) {
	_, colours := k.Terminal(c.App.Writer)
	at := paint(cell{e.At.Local().Format(time.TimeOnly), dim}, colours)
	message := cell{k.Printable(e.Message), stateColour(e.To)}
	if e.Kind == "refused" || e.Kind == "dropped" {
		message.colour = yellow
	}
	fmt.Fprintf(c.App.Writer, "%s %s\n", at, paint(message, colours))
}
