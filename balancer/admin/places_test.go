package admin_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"weir/balancer/admin"
)

// ways are how a door can be reached by strangers, or by anybody at all.
var ways = []string{"TCP with a token", "TLS with a token", "TLS with certificates", "unix"}

// besieged is a door, and how its operator and strangers come in.
type besieged struct {
	*house
	way    string
	papers *papers
}

func besiege(t *testing.T, way string) *besieged {
	t.Helper()
	b := &besieged{way: way, papers: newPapers(t)}
	o := admin.Options{Network: "tcp", Address: "127.0.0.1:0"}
	switch way {
	case "TCP with a token":
		o.TokenFile = b.papers.token
	case "TLS with a token":
		o.TokenFile, o.TLSCertificate, o.TLSKey = b.papers.token, b.papers.certificate, b.papers.key
	case "TLS with certificates":
		o.TLSClientCA, o.TLSCertificate, o.TLSKey = b.papers.ca, b.papers.certificate, b.papers.key
	case "unix":
		o = admin.Options{}
	}
	b.house = open(t, o)
	return b
}

// secure says whether there is TLS.
func (b *besieged) secure() bool { return strings.HasPrefix(b.way, "TLS") }

// dial connects, and does no more.
func (b *besieged) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.DialTimeout(b.Addr().Network(), b.Addr().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// speak connects as far as requests can be made: with a certificate if operator says so.
func (b *besieged) speak(t *testing.T, operator bool) net.Conn {
	t.Helper()
	c := b.dial(t)
	if !b.secure() {
		return c
	}
	authorities := x509.NewCertPool()
	ca, err := os.ReadFile(b.papers.ca)
	if err != nil {
		t.Fatal(err)
	}
	authorities.AppendCertsFromPEM(ca)
	config := &tls.Config{RootCAs: authorities, ServerName: "localhost"}
	if operator {
		pair, err := tls.LoadX509KeyPair(b.papers.clientCert, b.papers.clientKey)
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return tls.Client(c, config)
}

// head is that of a request, with what an operator shows.
func (b *besieged) head(path string, operator bool) string {
	text := "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n"
	if operator {
		text += "Authorization: Bearer " + secret + "\r\n"
	}
	return text + "\r\n"
}

// ask asks on a connection that is kept, and returns the status of the answer.
func (b *besieged) ask(c net.Conn, path string, operator bool) (int, error) {
	if _, err := io.WriteString(c, b.head(path, operator)); err != nil {
		return 0, err
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

// mustAsk is ask when it must go well.
func (b *besieged) mustAsk(t *testing.T, c net.Conn, path string, operator bool) {
	t.Helper()
	if status, err := b.ask(c, path, operator); status != http.StatusOK {
		t.Fatalf("%s: got status %d, %v", path, status, err)
	}
}

// wantOpen has a newcomer ask what load balancers ask, and an operator ask for the status.
func (b *besieged) wantOpen(t *testing.T) {
	t.Helper()
	for _, path := range []string{"/readyz", "/healthz"} {
		c := b.speak(t, b.way == "TLS with certificates") // where nobody else is answered at all
		b.mustAsk(t, c, path, false)
		c.Close()
	}
	o := admin.ClientOptions{Address: b.Addr().Network() + ":" + b.Addr().String()}
	if b.way != "unix" {
		o = admin.ClientOptions{Address: b.Addr().String(), TokenFile: b.papers.token}
		if b.secure() {
			o.CA, o.Certificate, o.Key = b.papers.ca, b.papers.clientCert, b.papers.clientKey
		}
	}
	client, err := admin.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Status(t.Context()); err != nil {
		t.Errorf("weir status: %v", err)
	}
}

// stillOpen counts the connections that the door has not closed.
func stillOpen(list []net.Conn) (n int) {
	open := make(chan bool)
	for _, c := range list {
		go func() {
			if secure, ok := c.(*tls.Conn); ok {
				c = secure.NetConn()
			}
			c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			_, err := io.Copy(io.Discard, c)
			open <- err != nil && os.IsTimeout(err)
		}()
	}
	for range list {
		if <-open {
			n++
		}
	}
	return n
}

// Whatever strangers do with however many connections, load balancers and operators are answered, and most of the
// strangers' connections are gone.
func TestStrangersCannotCloseTheDoor(t *testing.T) {
	const many = 100
	for _, way := range ways {
		for _, attack := range []struct {
			name string
			one  func(t *testing.T, b *besieged) net.Conn
		}{
			{"they ask after health and stay", func(t *testing.T, b *besieged) net.Conn {
				c := b.speak(t, b.way == "TLS with certificates")
				b.mustAsk(t, c, "/healthz", false)
				return c
			}},
			{"they say nothing", func(t *testing.T, b *besieged) net.Conn { return b.dial(t) }},
			{"they say half of what they want", func(t *testing.T, b *besieged) net.Conn {
				c := b.dial(t)
				io.WriteString(c, "GET /healthz HTT")
				return c
			}},
			{"they are refused", func(t *testing.T, b *besieged) net.Conn {
				c := b.dial(t)
				io.WriteString(c, "GET /v1/status HTTP/1.1\r\nHost: evil.example\r\n\r\n")
				return c
			}},
			{"they ask and ask, and read nothing", func(t *testing.T, b *besieged) net.Conn {
				c := b.dial(t)
				if b.secure() {
					return c
				}
				c.SetWriteDeadline(time.Now().Add(5 * time.Millisecond)) // until there is no room
				io.WriteString(c, strings.Repeat(b.head("/healthz", false), 20_000))
				return c
			}},
		} {
			t.Run(way+", "+attack.name, func(t *testing.T) {
				b := besiege(t, way)
				var list []net.Conn
				for i := range many {
					list = append(list, attack.one(t, b))
					if i%25 == 24 {
						b.wantOpen(t)
					}
				}
				b.wantOpen(t)
				if n := stillOpen(list); n > 64 {
					t.Errorf("%d connections of %d are open, want 64 at most", n, many)
				}
			})
		}
	}
}

// Places are kept for those who have shown that they are operators: strangers take none of them.
func TestOperatorsKeepTheirPlaces(t *testing.T) {
	for _, way := range ways[:3] {
		t.Run(way, func(t *testing.T) {
			b := besiege(t, way)
			var operators []net.Conn
			for range 40 {
				c := b.speak(t, true)
				b.mustAsk(t, c, "/v1/status", true)
				operators = append(operators, c)
			}
			for range 100 {
				c := b.speak(t, false)
				if way == "TLS with certificates" {
					io.WriteString(c, "GET") // which has it shake hands, in vain
					continue
				}
				b.mustAsk(t, c, "/readyz", false)
			}
			for i, c := range operators {
				if status, err := b.ask(c, "/v1/status", true); status != http.StatusOK {
					t.Errorf("operator %d: got status %d, %v", i, status, err)
				}
			}
		})
	}
}

// Operators who rest do not lock out another one: the longest silent one goes. One that is being answered never does.
func TestTheLongestSilentOperatorGoes(t *testing.T) {
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			b := besiege(t, way)
			stream := b.speak(t, true)
			io.WriteString(stream, b.head("/v1/events", true))
			events := bufio.NewReader(stream)
			if line, err := events.ReadString('\n'); !strings.Contains(line, "200 OK") {
				t.Fatalf("got %q, %v", line, err)
			}
			var list []net.Conn
			for i := range 60 { // the stream has one of 48
				c := b.speak(t, true)
				b.mustAsk(t, c, "/v1/status", true)
				if list = append(list, c); i > 0 && i < 47 {
					b.mustAsk(t, list[0], "/v1/status", true) // it is busier than the others
				}
			}
			gone := 0
			for i, c := range list {
				if _, err := b.ask(c, "/v1/status", true); err != nil {
					gone++
					if i == 0 || i > 30 { // in between the door may know of two answers in another order than their readers
						t.Errorf("operator %d is gone: %v", i, err)
					}
				}
			}
			if gone != 13 {
				t.Errorf("%d operators are gone, want 13", gone)
			}
			b.op.Feed.Publish(admin.Event{At: noon, Kind: "backend", Message: "hello"})
			for {
				line, err := events.ReadString('\n')
				if err != nil {
					t.Fatalf("the stream: %v", err)
				}
				if strings.Contains(line, "hello") {
					break
				}
			}
			b.wantOpen(t)
		})
	}
}

// slowOperator answers Status when it is told to.
type slowOperator struct {
	admin.Operator
	asked, answer chan struct{}
}

func (o *slowOperator) Status() admin.Status {
	o.asked <- struct{}{}
	<-o.answer
	return o.Operator.Status()
}

// When all operators' connections are waiting for answers, another one is told so, and load balancers are answered.
func TestAllOperatorsAreBusy(t *testing.T) {
	h := open(t, admin.Options{})
	slow := &slowOperator{h.op, make(chan struct{}), make(chan struct{})}
	d, err := admin.New(admin.Options{Network: "unix", Address: socketPath(t), MaxConnections: 8}, slow)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- d.Serve(t.Context()) }()
	h.aim(d.Addr(), "http://")
	done := make(chan error)
	for range 6 {
		go func() {
			r, err := h.client.Get(h.base + "/v1/status")
			if err == nil {
				_, err = io.Copy(io.Discard, r.Body)
				r.Body.Close()
				if r.StatusCode != http.StatusOK {
					err = fmt.Errorf("status %d", r.StatusCode)
				}
			}
			done <- err
		}()
		<-slow.asked
	}
	h.do(t, "GET", "/readyz", "").want(t, 200, "ok")
	h.do(t, "GET", "/v1/status", "").want(t, 503, "are waiting for answers")
	close(slow.answer)
	for range 6 {
		if err := <-done; err != nil {
			t.Errorf("one that waited: %v", err)
		}
	}
	d.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// Many commands at once, all from one host, are no attack: each is answered.
func TestManyCommandsAtOnce(t *testing.T) {
	for _, way := range []string{"unix", "TCP with a token"} {
		t.Run(way, func(t *testing.T) {
			b := besiege(t, way)
			errs := make(chan error)
			for range 60 {
				c := b.dial(t)
				go func() {
					status, err := b.ask(c, "/v1/status", true)
					if err == nil && status != http.StatusOK {
						err = fmt.Errorf("status %d", status)
					}
					c.Close()
					errs <- err
				}()
			}
			for range 60 {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
		})
	}
}
