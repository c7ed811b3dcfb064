//go:build !linux

package load

import (
	"errors"
	"net"
)

// EchoLoops is 0: there are no event loops on this system.
func EchoLoops() int { return 0 }

// echoLoops is never made here.
type echoLoops struct{}

func newEchoLoops(int, []net.Listener, *EchoOptions, *guests) (*echoLoops, error) {
	return nil, errors.New("event loops need Linux")
}

func (*echoLoops) serve() {}

func (*echoLoops) stop() {}
