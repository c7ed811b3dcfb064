//go:build unix

package run

import (
	"context"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"weir/balancer"
	"weir/config"
)

// signalPatience bounds every wait for what a signal does.
const signalPatience = 20 * time.Second

// B72: what a signal asks for panics, and the next signal is obeyed all the same.
func TestB72PanicOfASignal(t *testing.T) {
	cfg, err := config.Parse("test.toml", []byte("[frontend]\nbind_on = \"127.0.0.1:0\"\n[[frontend.backend]]\nforward_to = \"127.0.0.1:1\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := balancer.New(t.Context(), cfg, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	r := &runner{b: b, log: zerolog.Nop()} // without what a reload needs
	r.stop, r.endStop = context.WithCancel(t.Context())
	r.now, r.endNow = context.WithCancel(t.Context())
	signals := make(chan os.Signal, 2)
	signals <- signalReload
	signals <- syscall.SIGTERM
	end := r.background(t.Context(), "obeying signals", func(ctx context.Context) { r.obey(ctx, signals) })
	defer end()
	select {
	case <-r.stop.Done():
	case <-time.After(signalPatience):
		t.Fatal("SIGTERM was not obeyed")
	}
	if n := b.Panics(); n != 1 {
		t.Errorf("%d panics are counted, want 1", n)
	}
}

// A signal that has come is passed on once, to who wants it.
func TestPassHandsOnWhatHasCome(t *testing.T) {
	s := Catch()
	s.end <- syscall.SIGTERM
	to := make(chan os.Signal, 2)
	s.Pass(to, syscall.SIGTERM)
	if got := <-to; got != syscall.SIGTERM {
		t.Errorf("got %v", got)
	}
	if len(to) > 0 || Caught(s.With(t.Context())) != s || Caught(t.Context()) != nil {
		t.Error("more came, or the context does not keep the signals")
	}
	(*Signals)(nil).Pass(to)
}
