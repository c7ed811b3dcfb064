// Package refusal holds what a client that gets no backend is told, in its own protocol, before it is
// closed: a database driver then reports "too many clients" and not a connection that vanished.
//
// It never reads, writes, waits or looks at a clock: it is given what the client said and returns what to
// send. Sending, the time limit on a client that is to be heard, and closing without a reset (shut down
// writing, drain, close) are the engine's business.
//
// All of it is plain text, as only the servers have the keys for TLS. PostgreSQL's clients ask whether
// there may be TLS and are told no; those that insist on it (sslmode=require) then report that the server
// does not support SSL. MySQL's are told before there can be TLS, and some show that with a warning. Those
// that begin with TLS (Redis', and PostgreSQL's with sslnegotiation=direct) can only report that it failed.
//
// Start with Speech; postgres.go has the one protocol in which the client speaks first.
package refusal

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// Speech is what one frontend's refused clients are told. It does not change, and all sessions share it.
type Speech struct {
	opening []byte
	replies []byte // to one that is to be heard first; nil if it is not. See reply.
}

const (
	// maxText is the longest text of a protocol's error, in bytes: MySQL's clients keep 511
	// (MYSQL_ERRMSG_SIZE, include/mysql_com.h), and PostgreSQL's and Redis' keep more.
	maxText = 511
	// maxLiteral is the longest literal message, in bytes. It is the smallest send buffer of a
	// connection (tcp_wmem, tcp(7)), so that nothing has to wait for a client to read.
	maxLiteral = 4096
)

// For returns what to say to clients of a protocol: "postgres", "mysql" or "redis". A message, one line
// of at most 511 bytes, stands in place of the text of the protocol's error; empty, the text is the one
// that the protocol's own server has for too many clients. Without a protocol ("") the message itself, at
// most 4096 bytes of any kind, is sent as it is, and may not be empty.
func For(protocol, message string) (*Speech, error) {
	if protocol == "" {
		return literal(message)
	}
	if err := checkText(message); err != nil {
		return nil, err
	}
	switch protocol {
	case "postgres":
		return &Speech{replies: postgresReplies(cmp.Or(message, "sorry, too many clients already"))}, nil
	case "mysql":
		if strings.HasPrefix(message, "#") {
			return nil, errors.New(`a message for mysql may not begin with "#": that marks an SQLSTATE`)
		}
		return &Speech{opening: mysqlError(cmp.Or(message, "Too many connections"))}, nil
	case "redis":
		return &Speech{opening: redisError(cmp.Or(message, "max number of clients reached"))}, nil
	}
	return nil, fmt.Errorf(`unknown protocol %q: there are "postgres", "mysql" and "redis"`, protocol)
}

func literal(message string) (*Speech, error) {
	switch {
	case message == "":
		return nil, errors.New("nothing to say: neither a protocol nor a message is given")
	case len(message) > maxLiteral:
		return nil, fmt.Errorf("the message has %d bytes, more than %d", len(message), maxLiteral)
	}
	return &Speech{opening: []byte(message)}, nil
}

// checkText allows what fits into every protocol's error. A zero byte or the end of a line would end the
// error early and make the rest look like another reply; other control characters reach terminals.
func checkText(text string) error {
	if len(text) > maxText {
		return fmt.Errorf("the message has %d bytes, more than %d", len(text), maxText)
	}
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == 0x7f {
			return fmt.Errorf("the message has the control character %#02x at byte %d", c, i+1)
		}
	}
	return nil
}

// Opening is what to send at once, without having read anything. It is nil if the client is to be heard
// first. The caller must not change it.
func (s *Speech) Opening() []byte { return s.opening }

// Listens says that the client is to be heard first, see [Speech.Hear].
func (s *Speech) Listens() bool { return s.replies != nil }
