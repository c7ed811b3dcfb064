package admin

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"weir/config"
)

// DefaultAddress is where the door is if nobody says otherwise.
const DefaultAddress = "unix:/run/weir/admin.sock"

// ClientOptions says how to reach a door.
type ClientOptions struct {
	// Address is "unix:/path" or "/path", "http://host:port", "https://host:port", or "host:port", which is
	// https if there is an authority or a certificate to go by, else http. Empty: [DefaultAddress].
	Address string
	// TokenFile holds the bearer token. Empty: none.
	TokenFile string
	// CA is a file in PEM with authorities for the door's certificate, beside those of the system. Empty:
	// none.
	CA string
	// Certificate and Key are files in PEM with which the client proves who it is. Empty: none.
	Certificate, Key string
}

// ClientOptionsOf returns how to reach the door of a weir that runs on this host with that file. It takes
// the certificate in the file for its own authority, for it may be one. What proves who the client is stands
// in no file of weir's.
func ClientOptionsOf(a *config.Admin) ClientOptions {
	o := ClientOptions{Address: a.BindOn.String(), TokenFile: a.TokenFile, CA: a.TLSCertificate}
	host, port, err := net.SplitHostPort(a.BindOn.Address)
	if a.BindOn.Network != "tcp" || err != nil {
		return o
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip.Is6() {
			host = "::1"
		}
	}
	o.Address = net.JoinHostPort(host, port)
	return o
}

// Client asks a running weir. Its methods may be called by many goroutines at the same time. Their errors
// are a [*Problem] when weir has answered, and otherwise say what kept it from doing so.
type Client struct {
	address string // for errors
	base    string // scheme and host
	token   string
	http    *http.Client
}

const (
	dialTimeout = 5 * time.Second
	// maxAnswer bounds what is kept of an answer: far more than a status with 50,000 backends.
	maxAnswer = 256 << 20
	// maxEvent bounds one event.
	maxEvent = 1 << 20
)

// NewClient returns a client. It connects to nothing yet.
func NewClient(o ClientOptions) (*Client, error) {
	if o.Address == "" {
		o.Address = DefaultAddress
	}
	t := &http.Transport{DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext, TLSHandshakeTimeout: dialTimeout}
	c := &Client{address: o.Address, http: &http.Client{Transport: t, CheckRedirect: noRedirect}}
	if err := c.aim(o, t); err != nil {
		return nil, err
	}
	if o.TokenFile != "" {
		data, err := os.ReadFile(o.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("read the token: %w", err)
		}
		c.token = string(bytes.TrimSpace(data))
	}
	return c, nil
}

// noRedirect: the door redirects to nowhere, and whoever does is not to get the token.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// aim finds out where an address is.
func (c *Client) aim(o ClientOptions, t *http.Transport) (err error) {
	if path, ok := strings.CutPrefix(o.Address, "unix:"); ok || strings.HasPrefix(path, "/") {
		c.address = "unix:" + path
		c.base = "http://" + unixHost
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "unix", path)
		}
		return nil
	}
	if t.TLSClientConfig, err = o.tls(); err != nil {
		return err
	}
	text := o.Address
	if !strings.Contains(text, "://") {
		scheme := "http://"
		if o.CA != "" || o.Certificate != "" {
			scheme = "https://"
		}
		text = scheme + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return fmt.Errorf(`the address %q is none of the forms "unix:/path", "host:port", "https://host:port"`, o.Address)
	}
	c.base = u.Scheme + "://" + u.Host
	return nil
}

func (o *ClientOptions) tls() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		pool, err := readAuthorities(o.CA, systemAuthorities())
		if err != nil {
			return nil, err
		}
		c.RootCAs = pool
	}
	if o.Certificate != "" || o.Key != "" {
		pair, err := tls.LoadX509KeyPair(o.Certificate, o.Key)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// systemAuthorities are those of this host, as far as they can be read.
func systemAuthorities() *x509.CertPool {
	if pool, err := x509.SystemCertPool(); err == nil {
		return pool
	}
	return x509.NewCertPool()
}

// Status returns what all of weir is doing.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return ask[Status](ctx, c, "GET", "/v1/status", nil)
}

// Sessions returns one page of the live sessions.
func (c *Client) Sessions(ctx context.Context, q SessionQuery) (SessionPage, error) {
	return ask[SessionPage](ctx, c, "GET", "/v1/sessions?"+q.values().Encode(), nil)
}

// Session returns a live session, or one of the last that ended.
func (c *Client) Session(ctx context.Context, id uint64) (Session, error) {
	return ask[Session](ctx, c, "GET", "/v1/sessions/"+strconv.FormatUint(id, 10), nil)
}

// Backend returns one backend, also one that is removed and still has sessions.
func (c *Client) Backend(ctx context.Context, frontend, backend string) (Backend, error) {
	return ask[Backend](ctx, c, "GET", backendPath(frontend, backend), nil)
}

// Kill ends sessions and returns how many. With a rate it takes its time: tell, if not nil, is told how far it has come,
// and when ctx ends no more are ended. What it returns is then as far as it is known.
func (c *Client) Kill(ctx context.Context, k KillSelector, tell func(Killed)) (done Killed, err error) {
	answer, err := c.sendFor(ctx, linesType, "POST", "/v1/sessions/kill", k)
	if err != nil {
		return done, err
	}
	defer answer.Body.Close()
	lines := json.NewDecoder(answer.Body)
	for {
		var line struct {
			Killed
			Problem
		}
		switch err := lines.Decode(&line); {
		case err == io.EOF:
			return done, nil
		case ctx.Err() != nil:
			return done, ctx.Err()
		case err != nil:
			return done, fmt.Errorf("weir at %s was gone when it had ended %d of %d sessions: %w", c.address, done.Count, done.Of, err)
		case line.Status != 0:
			return done, &line.Problem
		}
		if done = line.Killed; tell != nil {
			tell(done)
		}
	}
}

// SetBackend changes a backend and returns what it is afterwards.
func (c *Client) SetBackend(ctx context.Context, frontend, backend string, change BackendChange) (Backend, error) {
	return ask[Backend](ctx, c, "PATCH", backendPath(frontend, backend), change)
}

// AddBackend adds a backend to a frontend's pool.
func (c *Client) AddBackend(ctx context.Context, frontend string, n NewBackend) (Backend, error) {
	return ask[Backend](ctx, c, "POST", "/v1/frontends/"+segment(frontend)+"/backends", n)
}

// RemoveBackend has a backend drain and then go.
func (c *Client) RemoveBackend(ctx context.Context, frontend, backend string) (Backend, error) {
	return ask[Backend](ctx, c, "DELETE", backendPath(frontend, backend), nothing{})
}

// Why tells what a connection from that client would get now, of each frontend, or of one if it is named, and at each
// listening address that makes a difference, or at one if it is named.
func (c *Client) Why(ctx context.Context, client, frontend, bind string) ([]Why, error) {
	v := url.Values{"client": {client}}
	for key, value := range map[string]string{"frontend": frontend, "bind": bind} {
		if value != "" {
			v.Set(key, value)
		}
	}
	return ask[[]Why](ctx, c, "GET", "/v1/why?"+v.Encode(), nil)
}

// Plan says what a file would change. Name is absolute: weir may run in another directory.
func (c *Client) Plan(ctx context.Context, name string, text []byte) (Plan, error) {
	return ask[Plan](ctx, c, "POST", "/v1/plan", PlanRequest{File: name, Text: string(text)})
}

// Reload has weir read its file again.
func (c *Client) Reload(ctx context.Context) (Plan, error) {
	return ask[Plan](ctx, c, "POST", "/v1/reload", nothing{})
}

// Upgrade has weir start its binary anew and hand over to it.
func (c *Client) Upgrade(ctx context.Context) (Upgraded, error) {
	return ask[Upgraded](ctx, c, "POST", "/v1/upgrade", nothing{})
}

// Failback has new sessions of a frontend go to those backends again that are no backups.
func (c *Client) Failback(ctx context.Context, frontend string) (FailedBack, error) {
	return ask[FailedBack](ctx, c, "POST", "/v1/frontends/"+url.PathEscape(frontend)+"/failback", nothing{})
}

// Save has weir write into its file what differs from it.
func (c *Client) Save(ctx context.Context) (Saved, error) {
	return ask[Saved](ctx, c, "POST", "/v1/save", nothing{})
}

// Events returns what happens from now on, until ctx ends, the caller breaks off, or weir is gone, which is
// an error: the last thing it gives.
func (c *Client) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		answer, err := c.send(ctx, "GET", "/v1/events", nil)
		if err != nil {
			yield(Event{}, err)
			return
		}
		defer answer.Body.Close()
		lines := bufio.NewScanner(answer.Body)
		lines.Buffer(nil, maxEvent)
		for lines.Scan() {
			if len(lines.Bytes()) == 0 {
				continue
			}
			var e Event
			if err = json.Unmarshal(lines.Bytes(), &e); err != nil {
				yield(Event{}, fmt.Errorf("read an event: %w", err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
		if ctx.Err() == nil {
			yield(Event{}, errors.New("weir has closed its door: it stops, or hands over to a new one"))
		}
	}
}

func backendPath(frontend, backend string) string {
	return "/v1/frontends/" + segment(frontend) + "/backends/" + segment(backend)
}

// segment escapes a name for a path. A dot is escaped, too: names of dots alone would mean directories.
func segment(name string) string { return strings.ReplaceAll(url.PathEscape(name), ".", "%2E") }

// ask asks, and decodes the answer.
func ask[T any](ctx context.Context, c *Client, method, path string, body any) (value T, err error) {
	answer, err := c.send(ctx, method, path, body)
	if err != nil {
		return value, err
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(&value); err != nil {
		return value, fmt.Errorf("%s does not answer as weir does: %w", c.address, err)
	}
	return value, nil
}

// send returns a good answer, whose body the caller closes.
func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	return c.sendFor(ctx, "", method, path, body)
}

// sendFor is send for an answer of another kind than JSON.
func (c *Client) sendFor(ctx context.Context, accept, method, path string, body any) (*http.Response, error) {
	var text io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		text = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, text)
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.explain(err)
	}
	if answer.StatusCode >= 200 && answer.StatusCode < 300 {
		return answer, nil
	}
	defer answer.Body.Close()
	return nil, c.problem(answer)
}

// problem reads why weir refuses.
func (c *Client) problem(answer *http.Response) error {
	var p Problem
	if answer.Header.Get("Content-Type") != problemType || json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(&p) != nil {
		return fmt.Errorf("%s does not answer as weir does: %s", c.address, answer.Status)
	}
	if p.Status == http.StatusUnauthorized {
		p.Detail = "weir at " + c.address + " wants another token: " + p.Detail
	}
	return &p
}

// ErrNotRunning means that nothing listens where weir should.
var ErrNotRunning = errors.New("weir is not running")

// explain says in plain words what kept weir from answering.
func (c *Client) explain(err error) error {
	var wrapped *url.Error // says method and address, which nobody asked for
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	switch {
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("ask weir at %s: %w", c.address, err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nothing listens at %s", ErrNotRunning, strings.TrimPrefix(c.address, "unix:"))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no permission for %s: only the user that weir runs as, and root, may use it", strings.TrimPrefix(c.address, "unix:"))
	}
	return fmt.Errorf("ask weir at %s: %w", c.address, err)
}
