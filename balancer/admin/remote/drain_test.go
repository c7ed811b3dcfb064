package remote

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"weir/balancer/admin"
	"weir/balancer/admin/admintest"
)

// patience bounds every wait of a test.
const patience = 20 * time.Second

// running is a command that takes its time.
type running struct {
	out, errs bytes.Buffer
	interrupt context.CancelFunc
	done      chan error
}

// begin runs a command in the background.
func begin(t *testing.T, s screen, command string) *running {
	t.Helper()
	r := &running{done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	r.interrupt = cancel
	app := newApp(&r.out, s)
	app.ErrWriter = &r.errs
	go func() { r.done <- app.RunContext(ctx, append([]string{"weir"}, strings.Fields(command)...)) }()
	return r
}

// end waits for it, and returns what it wrote.
func (r *running) end(t *testing.T) (out, errs string, err error) {
	t.Helper()
	select {
	case err = <-r.done:
	case <-time.After(patience):
		t.Fatal("the command does not end")
	}
	return r.out.String(), r.errs.String(), err
}

// looked waits until the fake was asked for backends that often.
func looked(t *testing.T, op *admintest.Operator, n int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); op.Looks() < n; <-tick.C {
		if time.Since(began) > patience {
			t.Fatalf("looked at %d times, want %d", op.Looks(), n)
		}
	}
}

const drainLine = "pg/db1 is drain (the probes say so): weight 3, limit 40 auto, 3 sessions now\n"

func TestDrainWaits(t *testing.T) {
	op := open(t)
	r := begin(t, screen{}, "drain db1 --wait")
	looked(t, op, 2)
	op.SetActive("pg", "db1", 0)
	out, errs, err := r.end(t)
	if want := drainLine + "pg/db1 is drained: no sessions left\n"; out != want || errs != "" || err != nil {
		t.Errorf("got %q, %q, %v, want %q", out, errs, err, want)
	}
	if got, want := lastCall(op), "set pg/db1 state=drain weight=- limit=-"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Two are waited for together. A terminal shows how many sessions are left, in one line.
func TestDrainShowsProgress(t *testing.T) {
	op := open(t)
	op.SetActive("pg", "db2", 1)
	r := begin(t, screen{width: 80}, "drain --wait db1 db2")
	looked(t, op, 2)
	op.SetActive("pg", "db2", 0)
	looked(t, op, 6)
	op.SetActive("pg", "db1", 0)
	out, _, err := r.end(t)
	for _, want := range []string{
		"\r\x1b[Kpg/db1: 3 sessions, pg/db2: 1 session", "\r\x1b[Kpg/db2 is drained: no sessions left\n", "\r\x1b[Kpg/db1: 3 sessions\r", "\r\x1b[Kpg/db1 is drained: no sessions left\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("got %q, want %q in it", out, want)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

func TestDrainAsJSON(t *testing.T) {
	op := open(t)
	op.SetActive("pg", "db1", 0)
	out, _, err := begin(t, screen{}, "drain --wait --json db1").end(t)
	if strings.Count(out, `"state": "drain"`) != 1 || strings.Contains(out, "drained") || err != nil {
		t.Errorf("got %s, %v", out, err)
	}
}

func wantStatus4(t *testing.T, err error) {
	t.Helper()
	var status ExitStatus
	if !errors.As(err, &status) || status != 4 {
		t.Errorf("got %v, want exit status 4", err)
	}
}

// What was not waited for to the end stays, and is said.
func TestDrainIsLeftInPlace(t *testing.T) {
	const stays = ": the drain stays in place ('weir ready' undoes it); pg/db1: 3 sessions\n"
	op := open(t)
	_, errs, err := begin(t, screen{}, "drain db1 --wait --timeout 300ms").end(t)
	wantText(t, errs, "weir: not drained after 300ms"+stays)
	wantStatus4(t, err)
	before := op.Looks()
	r := begin(t, screen{}, "drain db1 --wait --timeout 1h")
	looked(t, op, before+2)
	r.interrupt()
	_, errs, err = r.end(t)
	wantText(t, errs, "weir: interrupted"+stays)
	wantStatus4(t, err)
	if calls := op.Calls(); slices.ContainsFunc(calls, func(call string) bool { return strings.HasPrefix(call, "kill") || strings.Contains(call, "ready") }) {
		t.Errorf("got %q", calls)
	}
}

func TestDrainThenKill(t *testing.T) {
	op := open(t)
	r := begin(t, screen{}, "drain db1 --wait --timeout 100ms --then-kill")
	killed := time.NewTicker(5 * time.Millisecond)
	defer killed.Stop()
	for began := time.Now(); !strings.HasPrefix(lastCall(op), "kill"); <-killed.C {
		if time.Since(began) > patience {
			t.Fatal("nothing was killed")
		}
	}
	op.SetActive("pg", "db1", 0)
	out, errs, err := r.end(t)
	if want := drainLine + "ended 3 sessions of pg/db1\npg/db1 is drained: no sessions left\n"; out != want || errs != "" || err != nil {
		t.Errorf("got %q, %q, %v, want %q", out, errs, err, want)
	}
	if got, want := lastCall(op), "kill {ID:0 Client: Backend:db1 Frontend:pg MinAgeSeconds:0 MinIdleSeconds:0 All:false Limit:0 PerSecond:0}"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What makes waiting senseless ends it.
func TestDrainIsNotWaitedForInVain(t *testing.T) {
	op := open(t)
	r := begin(t, screen{}, "drain db1 --wait")
	looked(t, op, 1)
	c, err := admin.NewClient(admin.ClientOptions{Address: doorAddress()})
	if err != nil {
		t.Fatal(err)
	}
	ready := "ready"
	if _, err := c.SetBackend(t.Context(), "pg", "db1", admin.BackendChange{State: &ready}); err != nil {
		t.Fatal(err)
	}
	_, _, err = r.end(t)
	wantError(t, err, "pg/db1 is up again: somebody has undone the drain")

	before := op.Looks()
	r = begin(t, screen{}, "drain db1 --wait")
	looked(t, op, before+1)
	op.SetPID(4712)
	op.SetActive("pg", "db1", 0)
	_, _, err = r.end(t)
	wantError(t, err, "weir was upgraded meanwhile: process 4712 answers in place of 4711, and knows nothing of the sessions that are left there")

	before = op.Looks()
	op.SetActive("pg", "db1", 3)
	r = begin(t, screen{}, "drain db1 --wait")
	looked(t, op, before+1)
	op.Remove("pg", "db1")
	out, _, err := r.end(t)
	if !strings.HasSuffix(out, "pg/db1 is drained: no sessions left\n") || err != nil {
		t.Errorf("one that was removed: got %q, %v", out, err)
	}
}

// Piped progress is a line now and then.
func TestProgressIntoAPipe(t *testing.T) {
	var out bytes.Buffer
	now := noon
	k := &remote{Shell{Printable: func(s string) string { return s }, Now: func() time.Time { return now }, Terminal: terminal}}
	p := k.progressOn(cli.NewContext(newApp(&out, screen{}), flag.NewFlagSet("", flag.ContinueOnError), nil))
	for i, after := range []time.Duration{0, 5 * time.Second, 6 * time.Second, time.Second, 20 * time.Second} {
		now = now.Add(after)
		p.show(strings.Repeat("x", i+1))
	}
	p.clear()
	if got, want := out.String(), "xxx\nxxxxx\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
