package config

// Admin is the operator's door: where a running weir is asked and told, by weir's own commands and by whoever
// scrapes its metrics. Its paths, as that of [Log], are relative to the directory of the file; Load and Parse
// make them absolute, and see that what they name can be used.
type Admin struct {
	// BindOn is where it listens: unix:/path, a socket that is its owner's alone (mode 0600), or IP:port. ""
	// or absent, the default: there is no door, and the other keys of this table mean nothing.
	//
	// On a loopback address any user of this host may come in, unless TokenFile or TLSClientCA is set. On
	// another address one of them is required, and a token needs TLS. An abstract unix socket has no mode,
	// and is refused.
	BindOn Address `toml:"bind_on"`
	// TokenFile is the path of a file with the bearer token (RFC 6750) that every request must carry. "",
	// the default: none. At least 16 bytes, with nothing but white space around them.
	TokenFile string `toml:"token_file"`
	// TLSCertificate and TLSKey are paths of PEM files with the door's certificate (those of intermediate
	// authorities after it) and its private key. Both or neither, and only with TCP. "", the default: plain
	// HTTP.
	TLSCertificate string `toml:"tls_certificate"`
	TLSKey         string `toml:"tls_key"`
	// TLSClientCA is the path of a PEM file with the authorities whose clients are let in: mutual TLS. Needs
	// TLSCertificate. "", the default: no certificate is asked for.
	TLSClientCA string `toml:"tls_client_ca"`
	// Pprof opens /debug/pprof. What it shows and the load it makes are for the operator only. Default false.
	Pprof bool `toml:"pprof"`
}

// Log is where the log goes, and which lines of sessions are in it.
type Log struct {
	// File is a path to append to; it is created with mode 0640, and opened again on SIGUSR1. "", the
	// default: stderr.
	File string `toml:"file"`
	// Sessions says which sessions have a line at their end: "all"; "failed", those whose outcome is not
	// normal; or "none". These hold whatever -v says. "auto", the default: all when there is a File, else
	// as -v says.
	Sessions string `toml:"sessions"`
	// Sample keeps one in so many of the sessions that ended normally; the others keep theirs. At least 1.
	// 1, the default: all of them.
	Sample int `toml:"sample"`
	// Rate bounds the lines of sessions, of all frontends together, to so many a second. Further ones are
	// dropped, and once a second a line says how many. 0, the default: no limit.
	Rate int `toml:"rate"`
}
