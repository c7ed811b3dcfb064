package config

import (
	"net/netip"
	"strings"
)

// admin checks who could come in through the operator's door.
func (v *validator) admin(a *Admin) {
	door := gate{
		open:    a.BindOn != Address{},
		openers: []opener{{&a.BindOn, "bind_on"}},
		closed:  "has no meaning without bind_on",
		hint:    `the door listens somewhere: bind_on = "unix:/run/weir/admin.sock"`,
	}
	v.needs(door, &a.TokenFile, a.TokenFile == "")
	v.needs(door, &a.TLSCertificate, a.TLSCertificate == "")
	v.needs(door, &a.TLSKey, a.TLSKey == "")
	v.needs(door, &a.TLSClientCA, a.TLSClientCA == "")
	v.needs(door, &a.Pprof, !a.Pprof)
	if !door.open {
		return
	}
	v.wrong(&a.BindOn, a.BindOn.listenFault)
	v.wrong(&a.BindOn, a.BindOn.abstractFault)
	v.doorTLS(a)
	v.stranger(a)
}

// abstractFault objects to a unix socket that no file mode keeps from other users.
func (a Address) abstractFault() *fault {
	name, abstract := strings.CutPrefix(a.Address, "@")
	if a.Network != "unix" || !abstract {
		return nil
	}
	return &fault{quote(a.String()) + " has no mode: every user of this host could come in", didYouMean("unix:/run/" + name + ".sock")}
}

// doorTLS holds the keys of TLS together.
func (v *validator) doorTLS(a *Admin) {
	tcp := gate{
		open:    a.BindOn.Network == "tcp",
		openers: []opener{{&a.BindOn, "bind_on"}},
		closed:  "has no meaning on a unix socket",
		hint:    "its mode says who may come in",
	}
	certificate := gate{
		open:    a.TLSCertificate != "",
		openers: []opener{{&a.TLSCertificate, "tls_certificate"}},
		closed:  "has no meaning without tls_certificate",
		hint:    "TLS has a certificate and its key: set tls_certificate and tls_key",
	}
	key := gate{
		open:    a.TLSKey != "",
		openers: []opener{{&a.TLSKey, "tls_key"}},
		closed:  "has no meaning without tls_key",
		hint:    certificate.hint,
	}
	for _, field := range []*string{&a.TLSCertificate, &a.TLSKey, &a.TLSClientCA} {
		v.needs(tcp, field, *field == "")
	}
	v.needs(key, &a.TLSCertificate, a.TLSCertificate == "")
	v.needs(certificate, &a.TLSKey, a.TLSKey == "")
	v.needs(certificate, &a.TLSClientCA, a.TLSClientCA == "")
}

// stranger reports a door that other hosts can reach, and that does not ask who is there, or lets them
// overhear the answer.
func (v *validator) stranger(a *Admin) {
	if !a.BindOn.reachable() {
		return
	}
	asks := gate{
		open:    a.TokenFile != "" || a.TLSClientCA != "",
		openers: []opener{{&a.TokenFile, "token_file"}, {&a.TLSClientCA, "tls_client_ca"}},
		closed:  quote(a.BindOn.String()) + " lets everybody in who reaches it",
		hint:    "set token_file or tls_client_ca, with tls_certificate and tls_key, or bind unix:/path or 127.0.0.1",
	}
	v.needs(asks, &a.BindOn, false)
	sealed := gate{
		open:    a.TLSCertificate != "",
		openers: []opener{{&a.TLSCertificate, "tls_certificate"}},
		closed:  "the token would travel in the clear",
		hint:    "set tls_certificate and tls_key, or bind unix:/path or 127.0.0.1",
	}
	if a.TokenFile != "" {
		v.needs(sealed, &a.TokenFile, false)
	}
}

// reachable says whether other hosts could connect to a listening address.
func (a Address) reachable() bool {
	host, _ := a.hostPort()
	if a.Network != "tcp" || strings.EqualFold(host, "localhost") { // RFC 6761 section 6.3
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err != nil || !ip.Unmap().IsLoopback()
}

// log checks what is written about sessions.
func (v *validator) log(l *Log) {
	v.wrong(&l.File, func() *fault { return unprintable("the path", l.File) })
	v.oneOf(&l.Sessions, "auto", "all", "failed", "none")
	v.count(&l.Sample, 1, maxCount)
	v.count(&l.Rate, 0, maxCount)
	lines := gate{
		open:    l.Sessions != "none",
		openers: []opener{{&l.Sessions, "sessions"}},
		closed:  `has no meaning with sessions = "none"`,
		hint:    `no session has a line: did you mean sessions = "all"?`,
	}
	v.needs(lines, &l.Rate, l.Rate == 0)
	v.needs(lines, &l.Sample, l.Sample == defaultLogSample)
	normal := gate{
		open:    l.Sessions != "failed",
		openers: lines.openers,
		closed:  `has no meaning with sessions = "failed"`,
		hint:    `it keeps one in so many of those that did not fail: did you mean sessions = "all"?`,
	}
	v.needs(normal, &l.Sample, l.Sample == defaultLogSample)
}
