package remote

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// span gives a time in words a person reads, in its two largest units: "3 h 12 min".
func span(d time.Duration) string {
	switch {
	case d <= 0:
		return "0 s"
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return short(float64(d)/float64(time.Millisecond)) + " ms"
	case d < 10*time.Second:
		return short(d.Seconds()) + " s"
	}
	s := int64(d / time.Second)
	units := []struct {
		seconds int64
		name    string
	}{{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}}
	for i, u := range units {
		if s < u.seconds {
			continue
		}
		text := fmt.Sprintf("%d %s", s/u.seconds, u.name)
		if i+1 < len(units) {
			if rest := s % u.seconds / units[i+1].seconds; rest > 0 {
				text += fmt.Sprintf(" %d %s", rest, units[i+1].name)
			}
		}
		return text
	}
	return "0 s"
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// size gives a number of bytes in three digits: "1.31 GB" is 1,310,000,000.
func size(n uint64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, units := float64(n), "kMGTPE"
	i := -1
	for f >= 999.5 {
		f /= 1000
		i++
	}
	return fmt.Sprintf("%s %cB", short(f), units[i])
}

// short gives three digits: 1.31, 52.4, 804.
func short(f float64) string {
	digits := 2
	switch {
	case f >= 99.95:
		digits = 0
	case f >= 9.995:
		digits = 1
	}
	text := strconv.FormatFloat(f, 'f', digits, 64)
	if digits > 0 {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// count gives "1 session" and "2 sessions".
func count[N int | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// limit gives a bound, where 0 is none.
func limit(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

// tally lists counts by name, the largest first: "1190 normal, 11 backend reset".
func tally(counts map[string]uint64) string {
	var names []string
	for name, n := range counts {
		if n > 0 {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if counts[a] != counts[b] {
			if counts[a] > counts[b] {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", counts[name], name)
	}
	return strings.Join(names, ", ")
}
