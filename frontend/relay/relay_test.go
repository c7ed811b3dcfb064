package relay

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"testing"
)

// tcpPair returns both ends of one connection over loopback.
func tcpPair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialed.Close(); accepted.Close() })
	return dialed.(*net.TCPConn), accepted.(*net.TCPConn)
}

// relayed returns a client and a backend with a running pair between them.
func relayed(t testing.TB, stock *Stock) (client, backend *net.TCPConn, ended <-chan End) {
	t.Helper()
	client, in := tcpPair(t)
	out, backend := tcpPair(t)
	pair := NewPair(in, out, stock)
	done := make(chan End, 1)
	go func() {
		end := pair.Run()
		pair.Close()
		done <- end
	}()
	return client, backend, done
}

func TestRelayBothWays(t *testing.T) {
	stock := NewStock(MaxPipes)
	defer stock.Close()
	client, backend, ended := relayed(t, stock)
	sums := make(chan [32]byte, 4)
	send := func(c *net.TCPConn) {
		h := sha256.New()
		buf := make([]byte, 300<<10)
		r := rand.New(rand.NewPCG(1, 2))
		for range 40 {
			p := buf[:1+r.IntN(len(buf))]
			h.Write(p)
			c.Write(p)
		}
		c.CloseWrite()
		sums <- [32]byte(h.Sum(nil))
	}
	receive := func(c *net.TCPConn) {
		h := sha256.New()
		io.Copy(h, c)
		sums <- [32]byte(h.Sum(nil))
	}
	go send(client)
	go send(backend)
	go receive(client)
	go receive(backend)
	want := <-sums
	for range 3 {
		if got := <-sums; got != want {
			t.Errorf("stream came out as %x, want %x", got, want)
		}
	}
	if end := <-ended; end.Err != nil {
		t.Errorf("ended with %v, want no error", end.Err)
	}
}

// BenchmarkBulk compares this relay with the plain io.Copy pair it stands in for.
func BenchmarkBulk(b *testing.B) {
	b.Run("relay", func(b *testing.B) {
		stock := NewStock(MaxPipes)
		defer stock.Close()
		client, backend, _ := relayed(b, stock)
		bulk(b, client, backend)
	})
	b.Run("io.Copy", func(b *testing.B) {
		client, in := tcpPair(b)
		out, backend := tcpPair(b)
		go io.Copy(out, in)
		go io.Copy(in, out)
		bulk(b, client, backend)
	})
}

func bulk(b *testing.B, from, to *net.TCPConn) {
	const chunk = 1 << 20
	buf, sink := make([]byte, chunk), make([]byte, chunk)
	b.SetBytes(chunk)
	b.ReportAllocs()
	go func() {
		for {
			if _, err := from.Write(buf); err != nil {
				return
			}
		}
	}()
	for b.Loop() {
		if _, err := io.ReadFull(to, sink); err != nil {
			b.Fatal(err)
		}
	}
	from.Close()
}

// BenchmarkPingPong is one 64-byte message there and one back.
func BenchmarkPingPong(b *testing.B) {
	b.Run("relay", func(b *testing.B) {
		stock := NewStock(MaxPipes)
		defer stock.Close()
		client, backend, _ := relayed(b, stock)
		pingPong(b, client, backend)
	})
	b.Run("io.Copy", func(b *testing.B) {
		client, in := tcpPair(b)
		out, backend := tcpPair(b)
		go io.Copy(out, in)
		go io.Copy(in, out)
		pingPong(b, client, backend)
	})
}

func pingPong(b *testing.B, client, backend *net.TCPConn) {
	go io.CopyBuffer(struct{ io.Writer }{backend}, struct{ io.Reader }{backend}, make([]byte, 4096))
	msg := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		client.Write(msg)
		if _, err := io.ReadFull(client, msg); err != nil {
			b.Fatal(err)
		}
	}
	client.Close()
}
