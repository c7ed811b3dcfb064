//go:build linux

package admin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"weir/balancer/admin"
)

// twoBackends is a file with two backends, of which left gets all sessions.
func twoBackends(t *testing.T, engine string) string {
	t.Helper()
	echo := echoServer(t)
	return fmt.Sprintf(`
[frontend]
name = "web"
engine = %q
strategy = "first"
bind_on = "127.0.0.1:0"
[frontend.health]
kind = "none"
[[frontend.backend]]
name = "left"
forward_to = %q
[[frontend.backend]]
name = "right"
forward_to = %[2]q
[shutdown]
drain = "1h"
`, engine, echo)
}

// through connects a client, and has it talk with a backend.
func (r *real) through(t *testing.T, backend string) net.Conn {
	t.Helper()
	c := r.dial(t, "127.0.0.1", r.address("web"))
	talk(t, c)
	if s := r.session(t, c, "relaying"); s.Backend != backend {
		t.Fatalf("the session is at %s, want %s", s.Backend, backend)
	}
	return c
}

// leave ends a session from the client's side, at once: its server does not end because its client has.
func leave(c net.Conn) {
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// gone waits until the session of a client was cut.
func gone(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); err == nil || os.IsTimeout(err) {
		t.Errorf("a session that was ended: got %v, want a reset", err)
	}
}

// drainedEvents returns those of a backend so far.
func (r *real) drainedEvents(backend string) (n int) {
	for _, e := range r.allEvents() {
		if e.Kind == "drained" && e.Backend == backend {
			n++
		}
	}
	return n
}

func (r *real) set(t *testing.T, backend string, c admin.BackendChange) {
	t.Helper()
	if _, err := r.asks.SetBackend(t.Context(), "web", backend, c); err != nil {
		t.Fatal(err)
	}
}

func state(s string) admin.BackendChange { return admin.BackendChange{State: &s} }

// When the last session of a backend that gets no new ones has ended, an event says so, once and not before; whatever the
// reason why it gets none.
func TestDrainedIsToldOnce(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		zero, one := 0, 1
		for name, c := range map[string]struct{ do, undo func(r *real, t *testing.T) }{
			"drain": {func(r *real, t *testing.T) { r.set(t, "left", state("drain")) }, func(r *real, t *testing.T) { r.set(t, "left", state("ready")) }},
			"maint": {func(r *real, t *testing.T) { r.set(t, "left", state("maint")) }, func(r *real, t *testing.T) { r.set(t, "left", state("ready")) }},
			"weight 0": {func(r *real, t *testing.T) { r.set(t, "left", admin.BackendChange{Weight: &zero}) },
				func(r *real, t *testing.T) { r.set(t, "left", admin.BackendChange{Weight: &one}) }},
			"removed": {func(r *real, t *testing.T) {
				if _, err := r.asks.RemoveBackend(t.Context(), "web", "left"); err != nil {
					t.Fatal(err)
				}
			}, func(*real, *testing.T) {}},
			"removed from the file": {func(r *real, t *testing.T) {
				text, _ := os.ReadFile(r.file)
				before, rest, _ := strings.Cut(string(text), "[[frontend.backend]]\nname = \"left\"")
				_, after, _ := strings.Cut(rest, "[[frontend.backend]]")
				r.write(t, before+"[[frontend.backend]]"+after)
				if _, err := r.asks.Reload(t.Context()); err != nil {
					t.Fatal(err)
				}
			}, func(*real, *testing.T) {}},
		} {
			t.Run(name, func(t *testing.T) {
				r := runReal(t, twoBackends(t, engine))
				first, second := r.through(t, "left"), r.through(t, "left")
				c.do(r, t)
				leave(first)
				eventually(t, "one session to be left", func() bool {
					b, err := r.asks.Backend(t.Context(), "web", "left")
					return err == nil && b.Active == 1
				})
				talk(t, second)
				closing := time.Now()
				leave(second)
				e := r.event(t, "a drained backend", func(e *admin.Event) bool { return e.Kind == "drained" })
				if e.Backend != "left" || e.Frontend != "web" || e.At.Before(closing) || e.Message != "backend left of web is drained: no sessions left" {
					t.Errorf("got %+v; the last client left at %v", e, closing)
				}
				c.undo(r, t)
				r.set(t, "right", state("drain")) // which has none from the start: that is told at once
				r.event(t, "the other backend", func(e *admin.Event) bool { return e.Kind == "drained" && e.Backend == "right" })
				if n := r.drainedEvents("left"); n != 1 {
					t.Errorf("%d events say that left is drained, want 1", n)
				}
			})
		}
	})
}

// A drain that is undone within the second is told of if it had come to its end, and only then.
func TestDrainedIsToldThoughUndone(t *testing.T) {
	r := runReal(t, twoBackends(t, "copy"))
	c := r.through(t, "left")
	r.set(t, "left", state("drain"))
	r.set(t, "left", state("ready"))
	r.set(t, "left", state("drain"))
	leave(c)
	eventually(t, "the session to be gone", func() bool {
		b, err := r.asks.Backend(t.Context(), "web", "left")
		return err == nil && b.Active == 0
	})
	r.set(t, "left", state("ready"))
	r.event(t, "the drain", func(e *admin.Event) bool { return e.Kind == "drained" && e.Backend == "left" })
	r.set(t, "right", state("drain"))
	r.event(t, "the other", func(e *admin.Event) bool { return e.Kind == "drained" && e.Backend == "right" })
	if n := r.drainedEvents("left"); n != 1 {
		t.Errorf("%d events say that left is drained, want 1", n)
	}
}

// A removed backend is there for the operator as long as it has sessions: behind the others, and for nothing but to see
// and to end them.
func TestRemovedBackendsAreThere(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		r := runReal(t, twoBackends(t, engine))
		c := r.through(t, "left")
		r.set(t, "left", state("drain"))
		if _, err := r.asks.RemoveBackend(t.Context(), "web", "left"); err != nil {
			t.Fatal(err)
		}
		s, err := r.asks.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p := s.Frontends[0].Pool
		if len(p.Backends) != 2 || p.Backends[1].Name != "left" || p.Backends[1].State != "removed" || p.Backends[1].Active != 1 ||
			p.Backends[1].Added || p.Backends[1].Reason == "" || p.Usable != 1 {
			t.Errorf("got %s", jsonOf(t, p))
		}
		for _, d := range s.Differs {
			if d.What == "state" {
				t.Errorf("a removed backend differs from the file in its state: %+v", d)
			}
		}
		const removed = "left of frontend web is removed: its sessions, 1 now, have the drain time to finish, and 'weir add' puts it back"
		one := 1
		for _, change := range []admin.BackendChange{state("drain"), state("ready"), {Weight: &one}, {Limit: &one}} {
			_, err := r.asks.SetBackend(t.Context(), "web", "left", change)
			wantError(t, err, removed)
			if !errors.Is(err, admin.ErrConflict) {
				t.Errorf("got %v, want a conflict", err)
			}
		}
		_, err = r.asks.RemoveBackend(t.Context(), "web", "left")
		wantError(t, err, removed)
		page, err := r.asks.Sessions(t.Context(), admin.SessionQuery{SessionFilter: admin.SessionFilter{Backend: "left"}})
		if err != nil || page.Total != 1 {
			t.Errorf("sessions there: %+v, %v", page, err)
		}
		done, err := r.asks.Kill(t.Context(), admin.KillSelector{Backend: "left"}, nil)
		if err != nil || done.Count != 1 {
			t.Errorf("kill: %+v, %v", done, err)
		}
		gone(t, c)
		eventually(t, "it to be gone", func() bool {
			_, err := r.asks.Backend(t.Context(), "web", "left")
			return errors.Is(err, admin.ErrNotFound)
		})
		if _, there := r.backend(t, "web", "left"); there {
			t.Error("the status still has it")
		}
		_, err = r.asks.SetBackend(t.Context(), "web", "left", state("drain"))
		wantError(t, err, "frontend web has no backend left")
	})
}

// crowd connects clients, one after the other.
func (r *real) crowd(t *testing.T, n int) (list []net.Conn) {
	t.Helper()
	for range n {
		list = append(list, r.through(t, "left"))
	}
	return list
}

func TestKillAtMost(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		r := runReal(t, twoBackends(t, engine))
		list := r.crowd(t, 5)
		done, err := r.asks.Kill(t.Context(), admin.KillSelector{Backend: "left", Limit: 2}, nil)
		if err != nil || done != (admin.Killed{Count: 2, Of: 2}) {
			t.Errorf("got %+v, %v", done, err)
		}
		gone(t, list[0])
		gone(t, list[1])
		for _, c := range list[2:] {
			talk(t, c)
		}
		done, err = r.asks.Kill(t.Context(), admin.KillSelector{All: true, Limit: 7}, nil)
		if err != nil || done != (admin.Killed{Count: 3, Of: 3}) {
			t.Errorf("more than there are: got %+v, %v", done, err)
		}
	})
}

// With a rate sessions end one after the other, the oldest first, and those that come meanwhile are left alone.
func TestKillAtARate(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		r := runReal(t, twoBackends(t, engine))
		list := r.crowd(t, 5)
		var late net.Conn
		var told []admin.Killed
		began := time.Now()
		done, err := r.asks.Kill(t.Context(), admin.KillSelector{Backend: "left", PerSecond: 8}, func(k admin.Killed) {
			if len(told) == 0 {
				gone(t, list[0])
				talk(t, list[4])
				late = r.through(t, "left")
			}
			told = append(told, k)
		})
		if took, least := time.Since(began), 4*time.Second/8; took < least {
			t.Errorf("5 sessions ended within %v, want %v at least", took, least)
		}
		if err != nil || done != (admin.Killed{Count: 5, Of: 5}) {
			t.Errorf("got %+v, %v", done, err)
		}
		if len(told) < 3 || told[0].Of != 5 || told[0].Count > 2 {
			t.Errorf("it was told %+v", told)
		}
		for _, c := range list[1:] {
			gone(t, c)
		}
		talk(t, late)
		log := r.log.String()
		if want := `"change":{"backend":"left","per_second":8},"count":5,"message":"changed by an operator"`; !strings.Contains(log, want) {
			t.Errorf("the log has no %s: %s", want, log)
		}
	})
}

// Who asked for a rate and does not wait any longer has no more sessions ended; nor does a weir that stops.
func TestKillAtARateIsInterrupted(t *testing.T) {
	for _, how := range []string{"the client goes", "the door closes"} {
		t.Run(how, func(t *testing.T) {
			r := runReal(t, twoBackends(t, "reactor"))
			list := r.crowd(t, 4)
			ctx, cancel := context.WithCancel(t.Context())
			done, err := r.asks.Kill(ctx, admin.KillSelector{All: true, PerSecond: 0.01}, func(admin.Killed) {
				if how == "the client goes" {
					cancel()
				} else {
					r.stop()
				}
			})
			if err == nil || done != (admin.Killed{Count: 1, Of: 4}) {
				t.Errorf("got %+v, %v, want the first of 4 and an error", done, err)
			}
			cancel()
			eventually(t, "the log to tell", func() bool {
				return strings.Contains(r.log.String(), `"count":1,"error":"interrupted: 1 of 4 sessions were ended","message":"the operator's change was not made"`)
			})
			for _, c := range list[1:] {
				talk(t, c)
			}
		})
	}
}

// A kill that takes longer than any other answer may is not cut.
func TestKillOutlivesDeadlines(t *testing.T) {
	inBubbleFor(t, admin.Options{}, &patientOperator{}, func(t *testing.T, p *pipes) {
		for _, accept := range []string{"", "Accept: application/jsonl\r\n"} {
			c := p.dial()
			const body = `{"all":true,"per_second":0.001}`
			fmt.Fprintf(c, "POST /v1/sessions/kill HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n%s", accept, len(body), body)
			text, err := io.ReadAll(c)
			if err != nil || !strings.Contains(string(text), `{"count":3,"of":3}`) {
				t.Errorf("%s: got %q, %v", accept, text, err)
			}
			if n := strings.Count(string(text), `"of":3`); accept != "" && n < 3 {
				t.Errorf("%d lines, want 3", n)
			}
		}
	})
}

// patientOperator takes half an hour for each session that it ends.
type patientOperator struct{ admin.Operator }

func (*patientOperator) Kill(ctx context.Context, _ admin.Who, _ admin.KillSelector, tell func(admin.Killed)) (k admin.Killed, err error) {
	for k.Of = 3; k.Count < 3; k.Count++ {
		tell(k)
		select {
		case <-time.After(30 * time.Minute):
		case <-ctx.Done():
			return k, ctx.Err()
		}
	}
	return k, nil
}
