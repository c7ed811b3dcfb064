package load

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// eachEcho runs a test with goroutines and, where there are, with event loops.
func eachEcho(t *testing.T, f func(t *testing.T, o EchoOptions)) {
	for _, loops := range []int{0, min(EchoLoops(), 1), min(EchoLoops(), 2)} {
		t.Run(fmt.Sprintf("%d loops", loops), func(t *testing.T) { f(t, EchoOptions{Loops: loops}) })
	}
}

func dialEcho(t *testing.T, a Address) net.Conn {
	t.Helper()
	c, err := net.DialTimeout(a.Network, a.Address, testLimit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(testLimit))
	return c
}

// say sends a message, ends the stream, and returns all that comes back.
func say(t *testing.T, c net.Conn, message string) string {
	t.Helper()
	if _, err := io.WriteString(c, message); err != nil {
		t.Fatal(err)
	}
	c.(interface{ CloseWrite() error }).CloseWrite()
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

func TestEchoAndGreeting(t *testing.T) {
	eachEcho(t, func(t *testing.T, o EchoOptions) {
		if got := say(t, dialEcho(t, startEcho(t, o)), "hello"); got != "hello" {
			t.Errorf("got %q, want hello", got)
		}
		o.Name = "db1"
		if got := say(t, dialEcho(t, startEcho(t, o)), "hello"); got != "db1\nhello" {
			t.Errorf("got %q, want the name before hello", got)
		}
	})
}

func TestEchoDelay(t *testing.T) {
	eachEcho(t, func(t *testing.T, o EchoOptions) {
		o.Delay = 30 * time.Millisecond
		c := dialEcho(t, startEcho(t, o))
		began := time.Now()
		if got := say(t, c, "hello"); got != "hello" {
			t.Errorf("got %q, want hello", got)
		}
		if took := time.Since(began); took < o.Delay {
			t.Errorf("answered after %v, want %v or more", took, o.Delay)
		}
	})
}

// The client reads nothing until the echo's buffers, and the kernel's, are full.
func TestEchoBackPressure(t *testing.T) {
	eachEcho(t, func(t *testing.T, o EchoOptions) {
		c := dialEcho(t, startEcho(t, o))
		block := bytes.Repeat([]byte("0123456789abcdef"), 4096)
		total := 0
		c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		for {
			n, err := c.Write(block)
			total += n
			if err != nil {
				break
			}
		}
		c.(*net.TCPConn).CloseWrite()
		all, err := io.ReadAll(c)
		if err != nil || len(all) != total {
			t.Fatalf("got %d bytes back, %v; want %d", len(all), err, total)
		}
		for i := 0; i < total; i += len(block) {
			if part := all[i:min(i+len(block), total)]; !bytes.Equal(part, block[:len(part)]) {
				t.Fatalf("the bytes from %d on are not what was sent", i)
			}
		}
	})
}

func TestEchoUnix(t *testing.T) {
	eachEcho(t, func(t *testing.T, o EchoOptions) {
		path := filepath.Join(t.TempDir(), "s")
		o.Log = zerolog.Nop()
		e, err := ListenEcho(t.Context(), []Address{{"unix", path}}, o)
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- e.Serve() }()
		for range 10 {
			if got := say(t, dialEcho(t, Address{"unix", path}), "hello"); got != "hello" {
				t.Errorf("got %q, want hello", got)
			}
		}
		e.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("the socket's path: %v, want that it does not exist", err)
		}
	})
}

// Close resets what is connected, and nobody can connect any more.
func TestEchoClose(t *testing.T) {
	eachEcho(t, func(t *testing.T, o EchoOptions) {
		o.Log = zerolog.Nop()
		e, err := ListenEcho(t.Context(), []Address{{"tcp", "127.0.0.1:0"}}, o)
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- e.Serve() }()
		a := Address{"tcp", e.Addrs()[0].String()}
		c := dialEcho(t, a)
		one := make([]byte, 1)
		c.Write(one)
		if _, err := io.ReadFull(c, one); err != nil {
			t.Fatal(err)
		}
		e.Close()
		e.Close()
		if _, err := c.Read(one); err == nil || err == io.EOF {
			t.Errorf("read: got %v, want a reset", err)
		}
		if c, err := net.DialTimeout(a.Network, a.Address, testLimit); err == nil {
			c.Close()
			t.Error("a connection was accepted after Close")
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func TestEchoCloseBeforeServe(t *testing.T) {
	eachEcho(t, func(t *testing.T, o EchoOptions) {
		o.Log = zerolog.Nop()
		e, err := ListenEcho(t.Context(), []Address{{"tcp", "127.0.0.1:0"}}, o)
		if err != nil {
			t.Fatal(err)
		}
		e.Close()
		if err := e.Serve(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func TestEchoAddressInUse(t *testing.T) {
	eachEcho(t, func(t *testing.T, o EchoOptions) {
		a := startEcho(t, o)
		o.Log = zerolog.Nop()
		if e, err := ListenEcho(t.Context(), []Address{a}, o); err == nil {
			e.Close()
			t.Error("the address of another server was opened")
		}
	})
}
