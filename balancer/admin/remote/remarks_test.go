package remote

import (
	"testing"
	"time"

	"weir/balancer/admin"
)

// What is worth knowing of a backend beside its state: what its probes say, if that is something else, and the last.
func TestRemarks(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	k := &remote{Shell{Now: func() time.Time { return now }}}
	passed := &admin.Probe{At: now.Add(-time.Second), DurationSeconds: 0.0012, Result: "passed"}
	failed := &admin.Probe{At: now.Add(-2 * time.Second), DurationSeconds: 0.0004, Result: "failed", Error: "connection refused"}
	for _, c := range []struct {
		b    admin.Backend
		want string
	}{
		{admin.Backend{State: "up", Reason: "its probes pass", Health: &admin.Health{Up: true, Reason: "its probes pass", Last: passed}},
			"its probes pass; last probe passed in 1.2 ms, 1 s ago"},
		{admin.Backend{State: "drain", Reason: "set to drain by root", Health: &admin.Health{Reason: "3 of 3 probes failed: refused", Last: failed}},
			"set to drain by root; its probes: 3 of 3 probes failed: refused; last probe failed in 400 µs, 2 s ago"},
		{admin.Backend{State: "up", Backup: true, BackupWhenFull: true, Elsewhere: 2, Reason: "not probed"}, "backup when full; 2 more elsewhere; not probed"},
		{admin.Backend{State: "up", Leaving: true, Backup: true}, "backup; removed, and serves until another can"},
	} {
		if got := k.remarks(&c.b); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
