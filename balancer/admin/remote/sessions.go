package remote

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"weir/balancer/admin"
)

// filterFlags are those of sessions and kill.
func filterFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "client", Usage: "only those from `IP`, or from a prefix such as 10.0.0.0/8"},
		&cli.StringFlag{Name: "backend", Usage: "only those at `BACKEND`, by its name or as frontend/name"},
		&cli.StringFlag{Name: "frontend", Usage: "only those of `FRONTEND`"},
		&cli.DurationFlag{Name: "min-age", DefaultText: "any", Usage: "only those that began `TIME` ago, such as 90s or 2h, or longer"},
		&cli.DurationFlag{Name: "min-idle", DefaultText: "any", Usage: "only those on which no byte moved for `TIME`"},
	}
}

func (k *remote) sessionsCommand() *cli.Command {
	return k.command("sessions", "list live sessions, or show one by its number in the log", "[FILTER] [--sort KEY] [--limit N] [--tcp] [--json] | ID",
		"With ID it shows one session: a live one, or one of the last 10,000 that ended.",
		0, 1, k.sessions, filterFlags(), []cli.Flag{
			&cli.StringFlag{Name: "sort", Value: "age", Usage: "the largest first, by `KEY`: " + strings.Join(admin.SessionSorts, ", ")},
			&cli.IntFlag{Name: "limit", Value: admin.DefaultPage, Usage: "list at most `N`"},
			&cli.BoolFlag{Name: "tcp", DisableDefaultText: true, Usage: "ask the kernel about round-trip times and retransmissions"},
		}, jsonFlag(), doorFlags())
}

func (k *remote) sessions(c *cli.Context, operands []string) error {
	client, err := k.client(c)
	if err != nil {
		return err
	}
	if len(operands) == 1 {
		return k.session(c, client, operands[0])
	}
	q, err := k.query(c, client)
	if err != nil {
		return err
	}
	p, err := pages(c, client, q)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, p)
	}
	if p.Total == 0 {
		k.printf(c, "no sessions")
		return nil
	}
	listSessions(p.Sessions, q.TCPInfo).write(k, c, "")
	if rest := p.Total - len(p.Sessions); rest > 0 {
		k.printf(c, "… and %d more: --limit shows more of them", rest)
	}
	return nil
}

// pages asks for as many pages as the limit wants.
func pages(c *cli.Context, client *admin.Client, q admin.SessionQuery) (all admin.SessionPage, err error) {
	most := q.Limit
	for len(all.Sessions) < most {
		q.Limit = min(most-len(all.Sessions), admin.MaxPage)
		p, err := client.Sessions(c.Context, q)
		if err != nil {
			return all, err
		}
		all.Sessions, all.Total, all.Next = append(all.Sessions, p.Sessions...), p.Total, p.Next
		if p.Next == "" {
			break
		}
		q.Cursor = p.Next
	}
	return all, nil
}

func (k *remote) query(c *cli.Context, client *admin.Client) (q admin.SessionQuery, err error) {
	sel, err := k.selector(c, client)
	if err != nil {
		return q, err
	}
	q = admin.SessionQuery{Sort: c.String("sort"), Limit: c.Int("limit"), TCPInfo: c.Bool("tcp") || c.String("sort") == "rtt"}
	if q.Limit < 1 {
		return q, k.BadUsage(c, "--limit %d is less than 1", q.Limit)
	}
	q.SessionFilter = admin.SessionFilter{Backend: sel.Backend, Frontend: sel.Frontend, MinAge: c.Duration("min-age"), MinIdle: c.Duration("min-idle")}
	if sel.Client != "" {
		if q.Client, err = admin.ParseClient(sel.Client); err != nil {
			return q, k.BadUsage(c, "--%v", err)
		}
	}
	return q, nil
}

// selector reads the flags of a filter.
func (k *remote) selector(c *cli.Context, client *admin.Client) (s admin.KillSelector, err error) {
	for _, name := range []string{"min-age", "min-idle"} {
		if d := c.Duration(name); d < 0 {
			return s, k.BadUsage(c, "--%s %v is negative", name, d)
		}
	}
	s = admin.KillSelector{Client: c.String("client"), Frontend: c.String("frontend"),
		MinAgeSeconds: c.Duration("min-age").Seconds(), MinIdleSeconds: c.Duration("min-idle").Seconds()}
	name := c.String("backend")
	if name == "" {
		return s, nil
	}
	if s.Frontend != "" {
		s.Backend = strings.TrimPrefix(name, s.Frontend+"/")
		return s, nil
	}
	status, err := client.Status(c.Context)
	if err != nil {
		return s, err
	}
	p, err := find(&status, name)
	s.Frontend, s.Backend = p.frontend, p.backend
	return s, err
}

func listSessions(list []admin.Session, tcp bool) *table {
	heads := []string{">ID", "CLIENT", "FRONTEND", "BACKEND", "STATE", ">AGE", ">IDLE", ">UP", ">DOWN"}
	if tcp {
		heads = append(heads, ">RTT", ">RESENT", ">RTT BACK", ">RESENT BACK")
	}
	t := newTable(heads...)
	for _, s := range list {
		row := []cell{text(strconv.FormatUint(s.ID, 10)), text(s.Client), text(s.Frontend), text(orDash(s.Backend)), {s.State, stateColour(s.State)},
			text(whole(s.AgeSeconds)), text(whole(s.IdleSeconds)), text(size(s.BytesUp)), text(size(s.BytesDown))}
		if tcp {
			row = append(row, socket(s.ClientTCP)...)
			row = append(row, socket(s.BackendTCP)...)
		}
		t.add(row...)
	}
	return t
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// whole gives a time without fractions: nobody acts on those of an age.
func whole(s float64) string { return span(seconds(s).Truncate(time.Second)) }

func socket(i *admin.TCPInfo) []cell {
	if i == nil {
		return []cell{text("-"), text("-")}
	}
	return []cell{text(span(seconds(i.RTTSeconds))), text(strconv.FormatUint(i.Retransmissions, 10))}
}

// session shows one.
func (k *remote) session(c *cli.Context, client *admin.Client, word string) error {
	id, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		return k.BadUsage(c, "session %q is not a number", word)
	}
	s, err := client.Session(c.Context, id)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, s)
	}
	for _, line := range tell(&s) {
		k.printf(c, "%s", line)
	}
	return nil
}

// tell tells of a session in lines.
func tell(s *admin.Session) []string {
	where := fmt.Sprintf("session %d: %s at %s", s.ID, s.Client, s.Frontend)
	if s.Backend != "" {
		where += ", to " + s.Backend
	}
	if s.Class != "" {
		where += ", class " + s.Class
	}
	lines := []string{where}
	if e := s.Ended; e != nil {
		lines = append(lines, fmt.Sprintf("  ended %s after %s: %s (%s)", e.At.Local().Format(time.DateTime), span(seconds(s.AgeSeconds)), e.Outcome, e.Code))
		if e.Error != "" {
			lines = append(lines, "  "+e.Error)
		}
	} else {
		lines = append(lines, fmt.Sprintf("  %s for %s, idle for %s", s.State, whole(s.AgeSeconds), whole(s.IdleSeconds)))
	}
	lines = append(lines, reached(s),
		fmt.Sprintf("  %s up, %s down", size(s.BytesUp), size(s.BytesDown)))
	for _, side := range []struct {
		name string
		tcp  *admin.TCPInfo
	}{{"client", s.ClientTCP}, {"backend", s.BackendTCP}} {
		if side.tcp != nil {
			lines = append(lines, fmt.Sprintf("  %s: round trip %s ± %s, %s", side.name, span(seconds(side.tcp.RTTSeconds)), span(seconds(side.tcp.RTTVarSeconds)),
				count(side.tcp.Retransmissions, "retransmission")))
		}
	}
	return lines
}

// reached tells of a session's way to its backend.
func reached(s *admin.Session) string {
	waited := "  waited " + span(seconds(s.WaitedSeconds))
	if s.Tries == 0 {
		return waited + ", never connected to a backend"
	}
	return fmt.Sprintf("%s, connected in %s, %s", waited, span(seconds(s.ConnectSeconds)), tries(s.Tries))
}

func tries(n int) string {
	if n == 1 {
		return "1 try"
	}
	return fmt.Sprintf("%d tries", n)
}
