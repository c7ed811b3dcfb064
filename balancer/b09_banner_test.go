//go:build linux

package balancer_test

import (
	"testing"
	"time"
)

// B09, and at once: with TCP_QUICKACK off the last ACK of the backend's handshake waits 200 ms for data
// to ride on, and a backend that speaks first with it. The best of a few tells, on any machine.
func TestB09BannerAtOnce(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s := newServer(t)
		w := startWeir(t, engine, "", to(s.addr())+noProbes)
		best := patience
		for range 5 {
			client := w.dial()
			began := time.Now()
			send(t, s.accept(), "220 welcome")
			expect(t, client, "220 welcome")
			best = min(best, time.Since(began))
		}
		if best > 100*time.Millisecond {
			t.Errorf("the banner came after %v at best, want at once", best)
		}
	})
}
