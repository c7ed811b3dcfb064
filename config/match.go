package config

import "strings"

// Match is one way to tell that a client belongs to a class: by the prefix its address is in (or
// "unix": it has none), or by the
// listening address it came to. One of the two is set.
type Match struct {
	Prefix Prefix  // not set when BindOn is
	BindOn Address // as in the frontend's bind_on; its Network is "" when Prefix is set
}

// String gives the text of the file, of a prefix in its usual form.
func (m Match) String() string {
	if m.Prefix.IsSet() {
		return m.Prefix.String()
	}
	return m.BindOn.String()
}

// MarshalText gives [Match.String], for the effective configuration.
func (m Match) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

func parseMatch(text string) (Match, *fault) {
	p, f := parsePrefix(text)
	if f == nil || !looksLikeAddress(text) {
		return Match{Prefix: p}, f
	}
	a, f := parseAddress(text)
	return Match{BindOn: a}, f
}

func looksLikeAddress(text string) bool {
	return strings.HasPrefix(text, "unix:") || strings.Contains(text, ":") && !strings.Contains(text, "/")
}
