package load

import (
	"strings"
	"testing"
)

func TestRefusals(t *testing.T) {
	local := Address{"tcp", "127.0.0.1:80"}
	for _, c := range []struct {
		name string
		o    Options
		want string // "": allowed
	}{
		{"loopback", Options{Mode: Connect, Target: local}, ""},
		{"loopback beyond .1", Options{Mode: Connect, Target: Address{"tcp", "127.9.9.9:80"}}, ""},
		{"IPv6 loopback", Options{Mode: Connect, Target: Address{"tcp", "[::1]:80"}}, ""},
		{"mapped loopback", Options{Mode: Connect, Target: Address{"tcp", "[::ffff:127.0.0.1]:80"}}, ""},
		{"unix", Options{Mode: Connect, Target: Address{"unix", "/run/x"}}, ""},
		{"another host", Options{Mode: Connect, Target: Address{"tcp", "192.0.2.1:80"}}, "--remote"},
		{"another host, allowed", Options{Mode: Connect, Target: Address{"tcp", "192.0.2.1:80"}, Remote: true}, ""},
		{"mapped other host", Options{Mode: Connect, Target: Address{"tcp", "[::ffff:192.0.2.1]:80"}}, "--remote"},
		{"any", Options{Mode: Connect, Target: Address{"tcp", "0.0.0.0:80"}}, "--remote"},
		{"no port", Options{Mode: Connect, Target: Address{"tcp", "127.0.0.1:0"}}, "no port"},
		{"no mode", Options{Target: local}, "none of connect, echo, stream, hold"},
		{"stream with a rate", Options{Mode: Stream, Target: local, Rate: 1}, "no rate"},
		{"phases and a rate", Options{Mode: Connect, Target: local, Rate: 1, Phases: []Phase{{Duration: 1}}}, "leave out"},
		{"count of held", Options{Mode: Hold, Target: local, Count: 1}, "count means nothing"},
		{"negative size", Options{Mode: Connect, Target: local, Size: -1}, "size -1"},
		{"negative rate", Options{Mode: Connect, Target: local, Rate: -1}, "rate -1"},
		{"huge concurrency", Options{Mode: Connect, Target: local, Concurrency: 1 << 30}, "concurrency"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.o.complete()
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got %v, want none", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}
