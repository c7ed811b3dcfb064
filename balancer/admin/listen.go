package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// socketMode lets only the user that weir runs as, and root, connect.
const socketMode = 0o600

// listen opens the door's listener.
func (o *Options) listen() (net.Listener, error) {
	if o.Listener != nil {
		return o.Listener, nil
	}
	if o.Network == "unix" {
		l, err := listenUnix(o.Address)
		if err != nil {
			return nil, fmt.Errorf("listen at unix:%s: %w", o.Address, err)
		}
		return l, nil
	}
	l, err := net.Listen(o.Network, o.Address)
	if err != nil {
		return nil, err // says all
	}
	return l, nil
}

// listenUnix listens on a path. A socket that a process left behind is replaced; one at which somebody
// listens never is.
func listenUnix(path string) (net.Listener, error) {
	lock, err := lockDirectory(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the directory %s does not exist: create it, or have systemd do it with RuntimeDirectory=", filepath.Dir(path))
	}
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{Control: narrow}).Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, reason(err)
	}
	if err := os.Chmod(path, socketMode); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// reason takes off what net says of an address that is named already.
func reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// staleAfter bounds the question whether somebody listens.
const staleAfter = time.Second

// removeStale removes a socket at which nobody listens. Only a refused connection proves that: whoever is
// too busy to answer is alive.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("something else than a socket is there: move it away, or listen elsewhere")
	}
	c, err := net.DialTimeout("unix", path, staleAfter)
	if err == nil {
		c.Close()
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return os.Remove(path)
	}
	return errors.New("somebody listens there already: is weir running?")
}

// check says what would make the door reachable for those it is not meant for.
func (o *Options) check() error {
	switch {
	case o.Listener != nil: // it was checked by who opened it
		o.Network, o.Address = o.Listener.Addr().Network(), o.Listener.Addr().String()
	case o.Network == "unix" && strings.HasPrefix(o.Address, "@"):
		return fmt.Errorf("admin: bind_on unix:%s: an abstract socket has no permissions, so every user could command weir; "+
			"use a path, such as unix:/run/weir/admin.sock", o.Address)
	}
	secure := o.TLSCertificate != "" || o.TLSKey != ""
	switch {
	case o.Network == "unix" && (secure || o.TLSClientCA != ""):
		return errors.New("admin: a unix socket has no use for TLS: its mode says who may come in")
	case secure && (o.TLSCertificate == "" || o.TLSKey == ""):
		return errors.New("admin: tls_certificate and tls_key go together: give both, or none")
	case o.TLSClientCA != "" && !secure:
		return errors.New("admin: tls_client_ca needs a certificate of weir's own: give tls_certificate and tls_key")
	case o.Network == "unix" || loopback(o.Address):
	case !o.proves():
		return fmt.Errorf("admin: bind_on %q can be reached from other hosts, and whoever reaches it commands weir: "+
			"give token_file, or tls_client_ca, with tls_certificate and tls_key, or bind_on 127.0.0.1 or a unix socket", o.Address)
	case !secure:
		return fmt.Errorf("admin: bind_on %q can be reached from other hosts, and the token could be read on the way: "+
			"give tls_certificate and tls_key, or bind_on 127.0.0.1 or a unix socket", o.Address)
	}
	return nil
}

// proves says whether a client must prove who it is.
func (o *Options) proves() bool { return o.TokenFile != "" || o.TLSClientCA != "" }

// loopback says whether an address can be reached from this host only. A name but localhost is not
// looked up: what it means may change.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
