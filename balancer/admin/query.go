package admin

import (
	"math"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// ParseClient reads an address or a prefix of addresses.
func ParseClient(text string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(text); err == nil {
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, Invalid("client %q is neither an IP address nor a prefix such as 10.0.0.0/8", text)
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// validSeconds keeps a time within what a Duration can hold.
func validSeconds(s float64) bool { return s >= 0 && s < math.MaxInt64/float64(time.Second) }

// values returns a query as the parameters of a URL.
func (q SessionQuery) values() url.Values {
	v := url.Values{}
	set := func(key, value string, is bool) {
		if is {
			v.Set(key, value)
		}
	}
	set("client", q.Client.String(), q.Client.IsValid())
	set("backend", q.Backend, q.Backend != "")
	set("frontend", q.Frontend, q.Frontend != "")
	set("min_age_seconds", formatSeconds(q.MinAge), q.MinAge > 0)
	set("min_idle_seconds", formatSeconds(q.MinIdle), q.MinIdle > 0)
	set("sort", q.Sort, q.Sort != "")
	set("limit", strconv.Itoa(q.Limit), q.Limit != 0)
	set("cursor", q.Cursor, q.Cursor != "")
	set("tcp_info", "true", q.TCPInfo)
	return v
}

func formatSeconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }

// parseQuery reads what values wrote. A parameter that is unknown or given twice is an error, as a key of
// the file is: a filter that is misspelt would mean more sessions, not fewer.
func parseQuery(v url.Values) (q SessionQuery, err error) {
	p := parameters{values: v}
	if text := p.text("client"); text != "" {
		q.Client, err = ParseClient(text)
		p.fail(err)
	}
	q.Backend, q.Frontend = p.text("backend"), p.text("frontend")
	q.MinAge, q.MinIdle = p.seconds("min_age_seconds"), p.seconds("min_idle_seconds")
	q.Sort = p.oneOf("sort", SessionSorts)
	q.Limit = p.number("limit", DefaultPage, MaxPage)
	q.Cursor = p.text("cursor")
	q.TCPInfo = p.flag("tcp_info")
	return q, p.end()
}

// parameters are those of one URL. The first mistake is kept.
type parameters struct {
	values url.Values
	known  []string
	err    error
}

func (p *parameters) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

func (p *parameters) text(key string) string {
	p.known = append(p.known, key)
	if len(p.values[key]) > 1 {
		p.fail(Invalid("%s is given twice", key))
	}
	return p.values.Get(key)
}

func (p *parameters) seconds(key string) time.Duration {
	text := p.text(key)
	if text == "" {
		return 0
	}
	s, err := strconv.ParseFloat(text, 64)
	if err != nil || !validSeconds(s) {
		p.fail(Invalid("%s %q is not a number of seconds", key, text))
		return 0
	}
	return seconds(s)
}

func (p *parameters) oneOf(key string, words []string) string {
	text := p.text(key)
	if text == "" {
		return words[0]
	}
	if !slices.Contains(words, text) {
		p.fail(Invalid("%s %q is none of %v", key, text, words))
	}
	return text
}

func (p *parameters) number(key string, otherwise, most int) int {
	text := p.text(key)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		p.fail(Invalid("%s %q is not a number from 1 to %d", key, text, most))
	}
	return n
}

func (p *parameters) flag(key string) bool {
	switch text := p.text(key); text {
	case "", "false":
		return false
	case "true":
		return true
	default:
		p.fail(Invalid("%s %q is neither true nor false", key, text))
		return false
	}
}

// end returns the first mistake.
func (p *parameters) end() error {
	for key := range p.values {
		if !slices.Contains(p.known, key) {
			p.fail(Invalid("there is no parameter %q", key))
		}
	}
	return p.err
}
