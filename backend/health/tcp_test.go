package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// listen opens a listener that ends with the test.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestTCPGood(t *testing.T) {
	l := listen(t)
	if err := TCP("tcp", l.Addr().String(), nil)(soon(t)); err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the server read %d bytes, %v, want a clean end", n, err)
	}
}

func TestTCPRefused(t *testing.T) {
	l := listen(t)
	l.Close()
	err := TCP("tcp", l.Addr().String(), nil)(soon(t))
	want := "dial " + l.Addr().String() + ": connect: connection refused"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) || inconclusive(err) {
		t.Errorf("%v: want a conclusive ECONNREFUSED", err)
	}
}

func TestTCPEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := TCP("tcp", neverAccepts(t), nil)(ctx)
	if err == nil || !strings.HasSuffix(err.Error(), ": i/o timeout") {
		t.Errorf("got %v, want an i/o timeout", err)
	}
}

func TestTCPUsesTheDialerGiven(t *testing.T) {
	refuse := func(_ context.Context, network, address string) (net.Conn, error) {
		return nil, fmt.Errorf("no %s to %s today", network, address)
	}
	err := TCP("tcp4", "db1:5432", refuse)(t.Context())
	if want := "dial db1:5432: no tcp4 to db1:5432 today"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestOurOwnWantsAreInconclusive(t *testing.T) {
	for errno, want := range map[syscall.Errno]bool{
		syscall.EMFILE: true, syscall.ENFILE: true, syscall.ENOBUFS: true, syscall.ENOMEM: true,
		syscall.EADDRNOTAVAIL: true,
		syscall.ECONNREFUSED:  false, syscall.ETIMEDOUT: false, syscall.EHOSTUNREACH: false, syscall.ECONNRESET: false,
	} {
		failing := func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", errno)}
		}
		if got := inconclusive(TCP("tcp", "db1:1", failing)(t.Context())); got != want {
			t.Errorf("%v: got inconclusive %v, want %v", errno, got, want)
		}
	}
	if inconclusive(nil) {
		t.Error("a good verdict is conclusive")
	}
}

// neverAccepts is the address of a listener whose queue is full: the kernel drops every further SYN.
func neverAccepts(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	fill(t, address)
	return address
}

// fill connects until a connection no longer opens: a queue of 1 holds 2.
func fill(t *testing.T, address string) {
	t.Helper()
	for range 10 {
		conn, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err != nil {
			return
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Skip("this kernel does not let a queue fill up")
}
