// Package admin is the operator's door: an HTTP and JSON server through which a running weir can be seen
// into and changed, and the client for it that weir's commands use.
//
// It knows the balancer only as an [Operator], never blocks it, and is not on the way of any connection. It
// is on a unix socket, which the file system guards; or on TCP if it must, guarded by a token or by
// certificates. What it offers is described in openapi.json, which it serves itself.
//
// Start with [New] and routes.go; for the other side with [NewClient].
package admin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"weir/backend/contain"
	"weir/config"
	"weir/frontend"
)

// Options says where the door is and who may come in.
type Options struct {
	// Network and Address are what net.Listen takes: "unix" with a path, or a network of TCP with host:port.
	Network, Address string
	// Listener, if not nil, is used in place of Network and Address: it came from systemd, or from the
	// process before this one. The door owns it.
	Listener net.Listener

	// TokenFile holds the bearer token that each request must have. Empty: none is needed. White space
	// around it does not count.
	TokenFile string
	// TLSCertificate and TLSKey are files in PEM for TLS. Empty: no TLS.
	TLSCertificate, TLSKey string
	// TLSClientCA is a file in PEM with the authorities for certificates of clients, which then must have
	// one, beside the token if there is one. Empty: none is needed.
	TLSClientCA string
	// Hosts are names by which the door is reached over TCP, beside localhost and IP addresses.
	Hosts []string

	// Pprof offers net/http/pprof under /debug/pprof/.
	Pprof bool
	// Metrics serves /metrics. Nil: nothing is there.
	Metrics http.Handler

	// MaxConnections bounds the door's connections, one in four of which may be of strangers: see places. 0: 64, each
	// of which costs some 20 KB and a descriptor. One more, that has no place yet, costs a descriptor.
	MaxConnections int
	Log            zerolog.Logger
	// Guard reports and counts panics. nil: one that logs them.
	Guard *contain.Guard
}

// OptionsOf returns the options that a file asks for.
func OptionsOf(a *config.Admin) Options {
	o := Options{TokenFile: a.TokenFile, TLSCertificate: a.TLSCertificate, TLSKey: a.TLSKey, TLSClientCA: a.TLSClientCA, Pprof: a.Pprof}
	o.Network, o.Address = a.BindOn.Listen()
	return o
}

const (
	defaultConnections = 64
	// headerTimeout and headerBytes bound what a stranger can make a connection hold.
	headerTimeout = 5 * time.Second
	headerBytes   = 16 << 10
	// readTimeout is for the whole of a request, which may be a configuration of 16 MiB.
	readTimeout = 30 * time.Second
	// writeTimeout is for the whole of an answer that is not a stream, from when the request was read.
	writeTimeout = 30 * time.Second
	idleTimeout  = 60 * time.Second
	// closeTimeout is how long answers that are being written may take when the door closes.
	closeTimeout = 2 * time.Second
	// A token of leastToken bytes of base64 has 96 bits.
	leastToken = 16
)

// Door is the operator's door. Its listener is open from [New] on.
type Door struct {
	opts     Options
	operator Operator
	log      zerolog.Logger
	unix     bool
	hosts    []string
	listener net.Listener // as opened
	server   *http.Server
	socket   os.FileInfo   // of the unix socket; nil: TCP
	keep     atomic.Bool   // the socket, after Close
	streams  chan struct{} // holds one token for each that runs

	closing    context.Context // ends with the door
	endStreams context.CancelFunc

	token atomic.Pointer[[sha256.Size]byte] // hash; nil: none is needed
	tls   atomic.Pointer[tls.Config]        // nil: no TLS
}

// New opens the door, but lets nobody in yet. The error says what would be right when the options would
// let in those who should not. Either serve what it returns, or close it.
func New(o Options, op Operator) (*Door, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.MaxConnections <= 0 {
		o.MaxConnections = defaultConnections
	}
	if o.Guard == nil {
		o.Guard = frontend.NewGuard(o.Log)
	}
	d := &Door{opts: o, operator: op, log: o.Log, unix: o.Network == "unix", hosts: o.names(), streams: make(chan struct{}, maxStreams)}
	d.closing, d.endStreams = context.WithCancel(context.Background())
	if err := d.Refresh(); err != nil {
		return nil, err
	}
	var err error
	if d.listener, err = o.listen(); err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	if u, ok := d.listener.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // Close does it, with care
		d.socket, _ = os.Lstat(o.Address)
	}
	d.server = &http.Server{
		Handler:           d.handler(),
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, IdleTimeout: idleTimeout, // for writing: see withDeadline
		MaxHeaderBytes: headerBytes,
		ConnContext:    rememberGuest,
		ConnState:      follow,
		ErrorLog:       log.New(complaints{d.log}, "", 0),
	}
	if !d.unix && !o.proves() { // on the loopback, or check would not have it
		d.log.Warn().Stringer("bind_on", d.Addr()).Msg("every user of this host can command weir: admin has neither token_file nor tls_client_ca")
	}
	return d, nil
}

// names are those the door is reached by.
func (o *Options) names() []string {
	host, _, err := net.SplitHostPort(o.Address)
	if o.Network == "unix" || err != nil || host == "" {
		return o.Hosts
	}
	return append([]string{host}, o.Hosts...)
}

// Addr returns where the door is.
func (d *Door) Addr() net.Addr { return d.listener.Addr() }

// Refresh reads the token and the certificates again, for a reload. With an error, all stays as it was.
func (d *Door) Refresh() error {
	token, err := readToken(d.opts.TokenFile)
	if err != nil {
		return fmt.Errorf("admin: token_file: %w", err)
	}
	secure, err := d.opts.readTLS()
	if err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	d.token.Store(token)
	d.tls.Store(secure)
	return nil
}

func readToken(file string) (*[sha256.Size]byte, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	token := bytes.TrimSpace(data)
	if len(token) < leastToken {
		return nil, fmt.Errorf("%s holds a token of %d bytes, and %d is the least: try 'openssl rand -base64 24'", file, len(token), leastToken)
	}
	hash := sha256.Sum256(token)
	return &hash, nil
}

func (o *Options) readTLS() (*tls.Config, error) {
	if o.TLSCertificate == "" {
		return nil, nil
	}
	certificate, err := tls.LoadX509KeyPair(o.TLSCertificate, o.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("tls_certificate: %w", err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}}
	if o.TLSClientCA == "" {
		return c, nil
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	if c.ClientCAs, err = readAuthorities(o.TLSClientCA, x509.NewCertPool()); err != nil {
		return nil, fmt.Errorf("tls_client_ca: %w", err)
	}
	return c, nil
}

// readAuthorities adds to a pool those of a file.
func readAuthorities(file string, pool *x509.CertPool) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return pool, nil
}

// Serve lets operators in until ctx ends, then closes the door: answers that are being written are finished
// first. It is called once.
func (d *Door) Serve(ctx context.Context) error {
	finished := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(finished); d.shut() })
	l := net.Listener(&seated{d.listener, newPlaces(d.opts.MaxConnections)})
	if d.tls.Load() != nil {
		l = tls.NewListener(l, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return d.tls.Load(), nil }})
	}
	err := d.server.Serve(l)
	if !stop() { // ctx has ended
		<-finished
		return nil
	}
	d.Close()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("admin: %w", err)
}

// shut lets what is being written be finished, and closes.
func (d *Door) shut() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	d.endStreams()
	_ = d.server.Shutdown(ctx) // what is left then is cut by Close
	d.Close()
}

// Close closes the door at once. It may be called more than once.
func (d *Door) Close() {
	d.endStreams()
	if d.socket != nil && !d.keep.Load() {
		if now, err := os.Lstat(d.opts.Address); err == nil && os.SameFile(now, d.socket) { // nobody has replaced it
			_ = os.Remove(d.opts.Address)
		}
	}
	_ = d.server.Close()
	_ = d.listener.Close() // of a door that never served
}

// File returns a copy of the listening socket, for a process that is to take the door over. The caller
// closes it.
func (d *Door) File() (*os.File, error) {
	l, ok := d.listener.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("admin: hand over a %T: it has no file", d.listener)
	}
	return l.File()
}

// KeepSocket says whether Close leaves the unix socket in its place, because another process listens on it,
// too.
func (d *Door) KeepSocket(keep bool) { d.keep.Store(keep) }

// complaints takes what net/http has to say: a TLS handshake that failed, a client that speaks no HTTP.
type complaints struct{ log zerolog.Logger }

func (c complaints) Write(line []byte) (int, error) {
	c.log.Debug().Bytes("reason", bytes.TrimSpace(line)).Msg("admin: a request went wrong")
	return len(line), nil
}
