package backend

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
)

// Failure is why a connection to a backend could not be opened.
type Failure uint8

// The failures, and whether the backend is to blame.
const (
	FailureOther       Failure = iota
	FailureRefused             // nobody listens
	FailureTimeout             // no answer within the connect timeout
	FailureUnreachable         // no route, or a router or firewall said no
	FailureReset               // answered with a reset
	FailureName                // the host's name does not resolve
	FailureResource            // we have no descriptor, port or memory left: not the backend's fault
	FailureCanceled            // the client left while we connected: nobody's fault
	numFailures
)

var failureWords = [numFailures]string{
	"failed", "refused", "timed out", "unreachable", "reset", "name not resolved", "out of resources", "canceled",
}

func (f Failure) String() string { return failureWords[f] }

func (f Failure) blamesBackend() bool { return f != FailureResource && f != FailureCanceled }

// Classify says what an error of [Dialer.Dial] means.
func Classify(err error) Failure {
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.Canceled):
		return FailureCanceled
	case isResource(err):
		return FailureResource
	case errors.As(err, &dns):
		return FailureName
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist): // no unix socket there
		return FailureRefused
	case isUnreachable(err):
		return FailureUnreachable
	case errors.Is(err, syscall.ECONNRESET):
		return FailureReset
	case isTimeout(err):
		return FailureTimeout
	}
	return FailureOther
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// isUnreachable covers what ip-route(8) can answer: unreachable, prohibit (EACCES, or EPERM from a
// firewall), blackhole (EINVAL), and no route at all.
func isUnreachable(err error) bool {
	return isAny(err, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EACCES, syscall.EPERM,
		syscall.ENETDOWN, syscall.EHOSTDOWN, syscall.EINVAL)
}

func isResource(err error) bool {
	return isAny(err, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.EADDRNOTAVAIL, syscall.EADDRINUSE)
}

func isAny(err error, of ...syscall.Errno) bool {
	for _, e := range of {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
