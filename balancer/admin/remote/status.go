package remote

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"weir/balancer/admin"
)

func (k *remote) statusCommand() *cli.Command {
	return k.command("status", "show frontends, queues and backends", "[--watch [INTERVAL]] [--json] [--admin ADDR]",
		"Shows what each frontend does, which state each backend is in and why, and what differs from\nthe file.\n\n"+
			"With --watch it shows that again and again, each INTERVAL, such as 500ms or 5s, until Ctrl-C: on a\n"+
			"terminal in the same place, elsewhere one below the other, each after a line with the time. With\n"+
			"--json that is one line of JSON each time.",
		0, 1, k.status, []cli.Flag{
			&cli.BoolFlag{Name: "watch", DisableDefaultText: true, Usage: "show it again and again, each INTERVAL (2s)"},
		}, jsonFlag(), doorFlags())
}

func (k *remote) status(c *cli.Context, operands []string) error {
	if !c.Bool("watch") && len(operands) > 0 {
		return k.BadUsage(c, "status takes no argument without --watch, but got %q", operands[0])
	}
	client, err := k.client(c)
	if err != nil {
		return err
	}
	if c.Bool("watch") {
		return k.watchStatus(c, client, operands)
	}
	s, err := client.Status(c.Context)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, s)
	}
	k.showStatus(c, &s)
	return nil
}

func (k *remote) showStatus(c *cli.Context, s *admin.Status) {
	k.showWeir(c, s)
	for i := range s.Frontends {
		k.printf(c, "")
		k.showFrontend(c, &s.Frontends[i])
	}
	k.showDifferences(c, s.Differs)
}

func (k *remote) showWeir(c *cli.Context, s *admin.Status) {
	line := fmt.Sprintf("%s, pid %d, %s, up for %s", s.Version, s.PID, s.State, k.since(s.StartedAt))
	if s.ConfigFile != "" {
		line += ", " + s.ConfigFile
		if s.ReloadedAt != nil {
			line += " reloaded " + k.since(*s.ReloadedAt) + " ago"
		}
	}
	k.printf(c, "%s", line)
}

// since says how long ago something was.
func (k *remote) since(t time.Time) string { return span(k.Now().Sub(t).Truncate(time.Second)) }

func (k *remote) showFrontend(c *cli.Context, f *admin.Frontend) {
	title := "frontend " + f.Name
	if where := strings.Join(f.Addresses, ", "); where != f.Name {
		title += " on " + where
	}
	k.printf(c, "%s (%s)", title, f.Engine)
	for _, line := range describe(f) {
		k.printf(c, "  %s", line)
	}
	k.backends(f.Pool.Backends).write(k, c, "  ")
}

// describe tells of a frontend in lines.
func describe(f *admin.Frontend) []string {
	p := &f.Pool
	lines := []string{fmt.Sprintf("%s%s, %d since the start; %s up, %s down", count(f.Active, "session"), outOf(f.MaxSessions), f.Opened, size(f.BytesUp), size(f.BytesDown))}
	if ended := tally(f.Outcomes); ended != "" {
		lines = append(lines, "ended: "+ended)
	}
	if f.Rate != nil {
		lines = append(lines, "new sessions: "+rate(f.Rate))
	}
	if t := f.Clients; t != nil {
		lines = append(lines, clients(t))
	}
	lines = append(lines, fmt.Sprintf("%s: %d of %s usable, %s%s", p.Strategy, p.Usable, count(members(p), "backend"), count(p.Active, "connection"), outOf(p.MaxConnections)))
	if p.FailedOver {
		lines = append(lines, "the backups have taken over, and keep new sessions until 'weir failback'")
	}
	if p.Queue.MaxLength > 0 || p.Queue.Length > 0 {
		lines = append(lines, queue(&p.Queue))
	}
	for _, class := range p.Classes {
		lines = append(lines, fmt.Sprintf("class %s: weight %d, %d active, %d queued", class.Name, class.Weight, class.Active, class.Queued))
	}
	return lines
}

// members counts the backends that are not removed.
func members(p *admin.Pool) (n int) {
	for _, b := range p.Backends {
		if b.State != "removed" {
			n++
		}
	}
	return n
}

func outOf(most int) string {
	if most == 0 {
		return ""
	}
	return fmt.Sprintf(" of at most %d", most)
}

func rate(r *admin.Rate) string {
	return fmt.Sprintf("%s a second, %d at once", short(r.PerSecond), r.Burst)
}

func clients(t *admin.ClientTable) string {
	text := fmt.Sprintf("clients: %d known, of at most %d", t.Known, t.Size)
	if t.Full > 0 {
		text += fmt.Sprintf(" (no room for %d)", t.Full)
	}
	text += "; each "
	var each []string
	if t.MaxSessions > 0 {
		each = append(each, count(t.MaxSessions, "session"))
	}
	if t.Rate != nil {
		each = append(each, rate(t.Rate))
	}
	return text + strings.Join(each, ", ")
}

func queue(q *admin.Queue) string {
	text := fmt.Sprintf("queue: %d of at most %d wait", q.Length, q.MaxLength)
	if q.TimeoutSeconds > 0 {
		text += ", up to " + span(seconds(q.TimeoutSeconds))
	}
	if q.Served > 0 {
		text += fmt.Sprintf("; %d served after %s on average%s", q.Served, span(seconds(q.WaitedSeconds/float64(q.Served))), most(q))
	}
	return text + fmt.Sprintf(", %d refused", q.Refused)
}

// most says within which time 95 of 100 were served, as the histogram knows it.
func most(q *admin.Queue) string {
	const percent = 95
	var sum uint64
	for _, b := range q.Waits {
		if sum += b.Count; sum*100 >= q.Served*percent && b.UpToSeconds != nil {
			return fmt.Sprintf(", %d %% within %s", percent, span(seconds(*b.UpToSeconds)))
		}
	}
	return ""
}

func (k *remote) backends(list []admin.Backend) *table {
	t := newTable("BACKEND", "STATE", "FOR", ">ACTIVE", ">LIMIT", ">WEIGHT", ">SESSIONS", ">FAILED", "ADDRESS", "WHY")
	for _, b := range list {
		address := b.Address
		if address == b.Name {
			address = "-"
		}
		t.add(text(b.Name), cell{b.State, stateColour(b.State)}, text(k.since(b.Since)), text(fmt.Sprint(b.Active)), text(limitNow(&b)),
			text(weightNow(&b)), text(fmt.Sprint(b.Sessions)), text(fmt.Sprint(sum(b.Failed))), text(address), text(k.remarks(&b)))
	}
	return t
}

// limitNow marks a limit that is learned.
func limitNow(b *admin.Backend) string {
	if b.Learns {
		return limit(b.Limit) + " auto"
	}
	return limit(b.Limit)
}

// weightNow gives both weights during a slow start.
func weightNow(b *admin.Backend) string {
	if b.Weight == float64(b.ConfiguredWeight) || b.State != "up" {
		return fmt.Sprint(b.ConfiguredWeight)
	}
	return fmt.Sprintf("%s of %d", short(b.Weight), b.ConfiguredWeight)
}

func sum(counts map[string]uint64) (n uint64) {
	for _, m := range counts {
		n += m
	}
	return n
}

func (k *remote) remarks(b *admin.Backend) string {
	var list []string
	switch {
	case b.BackupWhenFull:
		list = append(list, "backup when full")
	case b.Backup:
		list = append(list, "backup")
	}
	if b.Leaving {
		list = append(list, "removed, and serves until another can")
	}
	if b.Elsewhere > 0 {
		list = append(list, fmt.Sprintf("%d more elsewhere", b.Elsewhere))
	}
	if b.Added {
		list = append(list, "added")
	}
	if b.Reason != "" {
		list = append(list, b.Reason)
	}
	if h := b.Health; h != nil && h.Reason != b.Reason && b.State != "up" {
		list = append(list, "its probes: "+h.Reason)
	}
	if b.Health != nil && b.Health.Last != nil {
		list = append(list, k.lastProbe(b.Health.Last))
	}
	return strings.Join(list, "; ")
}

// lastProbe tells how the last probe went, and how long ago.
func (k *remote) lastProbe(p *admin.Probe) string {
	return fmt.Sprintf("last probe %s in %s, %s ago", p.Result, span(seconds(p.DurationSeconds)), k.since(p.At))
}

func (k *remote) showDifferences(c *cli.Context, list []admin.Difference) {
	if len(list) == 0 {
		return
	}
	k.printf(c, "\ndiffers from the file ('weir save' keeps it and 'weir reload' undoes it, but for drain and maint):")
	for _, d := range list {
		k.printf(c, "  %s (by %s, %s ago)", differs(&d), d.Who, k.since(d.At))
	}
}

func differs(d *admin.Difference) string {
	where := place{d.Frontend, d.Backend}.String()
	if d.File == "" && d.Now == "" {
		return where + " was " + d.What
	}
	return fmt.Sprintf("%s: %s is %s, the file has %s", where, d.What, d.Now, d.File)
}
