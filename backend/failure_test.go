package backend

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/backend/sockopt"
)

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		err    error
		want   Failure
		blames bool
	}{
		{syscall.ECONNREFUSED, FailureRefused, true},
		{os.ErrNotExist, FailureRefused, true},
		{syscall.ENOENT, FailureRefused, true},
		{syscall.ETIMEDOUT, FailureTimeout, true},
		{os.ErrDeadlineExceeded, FailureTimeout, true},
		{context.DeadlineExceeded, FailureTimeout, true},
		{syscall.ENETUNREACH, FailureUnreachable, true},
		{syscall.EHOSTUNREACH, FailureUnreachable, true},
		{syscall.EACCES, FailureUnreachable, true},
		{syscall.EPERM, FailureUnreachable, true},
		{syscall.EINVAL, FailureUnreachable, true},
		{syscall.ENETDOWN, FailureUnreachable, true},
		{syscall.EHOSTDOWN, FailureUnreachable, true},
		{syscall.ECONNRESET, FailureReset, true},
		{&net.DNSError{Err: "no such host", IsNotFound: true}, FailureName, true},
		{&net.DNSError{Err: "i/o timeout", IsTimeout: true}, FailureName, true},
		{syscall.EMFILE, FailureResource, false},
		{syscall.ENFILE, FailureResource, false},
		{syscall.ENOBUFS, FailureResource, false},
		{syscall.ENOMEM, FailureResource, false},
		{syscall.EADDRNOTAVAIL, FailureResource, false},
		{syscall.EADDRINUSE, FailureResource, false},
		{context.Canceled, FailureCanceled, false},
		{errors.New("something else"), FailureOther, true},
	} {
		// As net.Dialer and Dialer.Dial wrap it.
		err := fmt.Errorf("dial backend db1: %w",
			&net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", c.err)})
		if got := Classify(err); got != c.want || got.blamesBackend() != c.blames {
			t.Errorf("%v: got %v (blames %v), want %v (blames %v)", err, got, got.blamesBackend(), c.want, c.blames)
		}
	}
}

func TestFailureWords(t *testing.T) {
	seen := map[string]Failure{}
	for f := range numFailures {
		if f.String() == "" {
			t.Errorf("failure %d has no words", f)
		}
		if other, there := seen[f.String()]; there {
			t.Errorf("failures %d and %d are both %q", other, f, f)
		}
		seen[f.String()] = f
	}
}

// What the kernel and net.Dialer really say.
func TestClassifyWhatDialSays(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name             string
		ctx              context.Context
		network, address string
		timeout          time.Duration
		want             Failure
	}{
		{"refused", t.Context(), "tcp", deaf(t), time.Minute, FailureRefused},
		{"no unix socket", t.Context(), "unix", t.TempDir() + "/none", time.Minute, FailureRefused},
		{"abstract socket", t.Context(), "unix", "@weir-test-nobody", time.Minute, FailureRefused},
		{"client left", canceled, "tcp", deaf(t), time.Minute, FailureCanceled},
		{"no time", t.Context(), "tcp", "192.0.2.1:9", time.Nanosecond, FailureTimeout},
		{"bad name", t.Context(), "tcp", "no..name:9", time.Minute, FailureName},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, err := NewDialer(c.timeout, sockopt.Options{}, nil).
				Dial(c.ctx, &Backend{id: ID{"db1", c.network, c.address}})
			if err == nil {
				conn.Close()
				t.Fatal("connected")
			}
			if got := Classify(err); got != c.want || !strings.HasPrefix(err.Error(), "dial backend db1: ") {
				t.Errorf("%v: got %v, want %v", err, got, c.want)
			}
		})
	}
}

// deaf is an address that refuses: whoever listened there is gone.
func deaf(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return l.Addr().String()
}
