package config

import (
	"math"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

func (d *decoder) integer(n *node, target *int) {
	if n.form != scalar || n.kind != unstable.Integer {
		d.wrongType(n, "an integer", integerHint(n))
		return
	}
	value, err := parseInteger(n.text, strconv.IntSize)
	if err != nil {
		d.spoil(n, &fault{clean(n.text) + " is out of range", ""})
		return
	}
	*target = int(value)
}

func integerHint(n *node) string {
	if _, err := strconv.Atoi(n.text); err == nil {
		return withoutQuotes(n)
	}
	if n.name == "max_connections" && n.text == "auto" {
		return "a limit is learned for each backend: put it in [frontend.backend]"
	}
	return ""
}

// parseInteger reads TOML's 0x, 0o and 0b as well, for which base 0 stands.
func parseInteger(text string, size int) (int64, error) {
	return strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 0, size)
}

// number takes integers and floats. It lets no infinity and no NaN in.
func (d *decoder) number(n *node, target *float64) {
	value, err := 0.0, error(nil)
	switch {
	case n.form == scalar && n.kind == unstable.Float:
		value, err = strconv.ParseFloat(strings.ReplaceAll(n.text, "_", ""), 64)
	case n.form == scalar && n.kind == unstable.Integer:
		var whole int64
		whole, err = parseInteger(n.text, 64)
		value = float64(whole)
	default:
		d.notNumber(n)
		return
	}
	if err != nil || math.IsInf(value, 0) || math.IsNaN(value) {
		d.spoil(n, &fault{clean(n.text) + " is out of range", rateRange})
		return
	}
	*target = value
}

func (d *decoder) notNumber(n *node) {
	hint := "it counts per second: 100, or 0.5"
	if value, err := strconv.ParseFloat(n.text, 64); err == nil && value >= minRate && value <= maxCount {
		hint = withoutQuotes(n)
	}
	d.wrongType(n, "a number", hint)
}

func withoutQuotes(n *node) string {
	return "numbers stand without quotes: did you mean " + clean(n.text) + "?"
}

// auto reads the max_connections of a backend that is a string.
func (d *decoder) auto(n *node, b *Backend) {
	if n.text == "auto" {
		b.Auto = true
		return
	}
	f := &fault{"unknown value " + quote(n.text), `valid are a number, or "auto"`}
	if _, err := strconv.Atoi(n.text); err == nil {
		f = &fault{"must be an integer, not a string", withoutQuotes(n)}
	} else if near, ok := nearest(n.text, []string{"auto"}); ok {
		f.hint = didYouMean(near) + " " + f.hint
	}
	d.spoil(n, f)
}
