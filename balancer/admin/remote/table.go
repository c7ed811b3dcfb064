package remote

import (
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/mattn/go-isatty"
	"github.com/urfave/cli/v2"
)

// Colours, as ECMA-48 numbers them (SGR).
const (
	plain  = ""
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// cell is one field of a table.
type cell struct{ text, colour string }

func text(s string) cell { return cell{s, plain} }

// table is text in columns. The last one is cut where the terminal ends.
type table struct {
	head  []string
	right []bool // columns of numbers
	rows  [][]cell
}

// newTable returns a table with those heads; one that begins with > is of a column of numbers.
func newTable(heads ...string) *table {
	t := &table{}
	for _, h := range heads {
		name, number := strings.CutPrefix(h, ">")
		t.head = append(t.head, name)
		t.right = append(t.right, number)
	}
	return t
}

func (t *table) add(cells ...cell) { t.rows = append(t.rows, cells) }

// write writes the table, each line behind an indent.
func (t *table) write(k *remote, c *cli.Context, indent string) {
	width, colours := k.Terminal(c.App.Writer)
	var head []cell
	for _, h := range t.head {
		head = append(head, cell{h, dim})
	}
	rows := append([][]cell{head}, t.rows...)
	for _, row := range rows {
		for i := range row {
			row[i].text = k.Printable(row[i].text)
		}
	}
	widths := t.widths(rows)
	for _, row := range rows {
		io.WriteString(c.App.Writer, t.line(row, widths, indent, width, colours)+"\n")
	}
}

func (t *table) widths(rows [][]cell) []int {
	widths := make([]int, len(t.head))
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	return widths
}

const gap = "  "

// line lays out one row. Cells are padded before they are coloured: colours have no width.
func (t *table) line(row []cell, widths []int, indent string, width int, colours bool) string {
	var b strings.Builder
	used := len(indent)
	b.WriteString(indent)
	for i, c := range row {
		space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text))
		last := i == len(row)-1
		if last && width > 0 {
			c.text = cut(c.text, width-used)
		}
		word := paint(c, colours)
		switch {
		case t.right[i]:
			word = space + word
		case !last:
			word += space
		}
		b.WriteString(word)
		if !last {
			b.WriteString(gap)
		}
		used += widths[i] + len(gap)
	}
	return strings.TrimRight(b.String(), " ")
}

// leastWidth is what is left of the last column on the narrowest terminal.
const leastWidth = 8

// cut shortens a text to so many characters.
func cut(s string, most int) string {
	most = max(most, leastWidth)
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}

func paint(c cell, colours bool) string {
	if !colours || c.colour == plain || c.text == "" {
		return c.text
	}
	return "\x1b[" + c.colour + "m" + c.text + "\x1b[0m"
}

// terminal is Shell.Terminal for what is really written to. Colours are for terminals, unless NO_COLOR is
// set to anything (no-color.org) or the terminal knows none.
func terminal(w io.Writer) (width int, colours bool) {
	f, ok := w.(*os.File)
	if !ok || !isatty.IsTerminal(f.Fd()) {
		return 0, false
	}
	return terminalWidth(f), os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// height is Shell.Height for what is really written to.
func height(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !isatty.IsTerminal(f.Fd()) {
		return 0
	}
	return terminalHeight(f)
}

// stateColour: green is at work, red is not but should be, yellow is as somebody wants it.
func stateColour(state string) string {
	switch state {
	case "up", "serving", "relaying":
		return green
	case "down", "ejected":
		return red
	case "drain", "maint", "disabled", "removed", "starting", "stopping", "queued", "refusing":
		return yellow
	}
	return plain
}
