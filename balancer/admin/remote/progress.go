package remote

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"
)

// pipedProgress is how often progress is told where it cannot be written over.
const pipedProgress = 10 * time.Second

// progress tells how far something has come: on a terminal in one line that is written over, elsewhere in a line of its
// own now and then, and not at all where JSON is wanted.
type progress struct {
	*remote
	c        *cli.Context
	terminal bool
	last     string
	told     time.Time
}

func (k *remote) progressOn(c *cli.Context) *progress {
	width, _ := k.Terminal(c.App.Writer)
	return &progress{remote: k, c: c, terminal: width > 0, told: k.Now()}
}

func (p *progress) show(text string) {
	if p.c.Bool("json") || text == p.last {
		return
	}
	text = p.Printable(text)
	switch {
	case p.terminal:
		width, _ := p.Terminal(p.c.App.Writer)
		fmt.Fprintf(p.c.App.Writer, "\r\x1b[K%s", cut(text, width-1))
	case p.Now().Sub(p.told) < pipedProgress:
		return
	default:
		fmt.Fprintln(p.c.App.Writer, text)
	}
	p.last, p.told = text, p.Now()
}

// clear takes the line away, before another one.
func (p *progress) clear() {
	if p.terminal && p.last != "" {
		fmt.Fprint(p.c.App.Writer, "\r\x1b[K")
		p.last = ""
	}
}
