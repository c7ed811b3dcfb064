package balancer_test

import (
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// target is a listening socket that counts the probes which reach it in the kernel: nobody ever
// accepts, so a good probe is one more in the accept queue; while it hangs, a probe's SYN is dropped,
// and the drop is counted. So what a probe has seen can be told from the moment it begins.
type target struct{ *server }

func newTarget(t *testing.T) *target {
	t.Helper()
	return &target{newServer(t)}
}

// hang drops every SYN from now on.
func (g *target) hang() {
	drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
	g.on(func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop[0]})
	})
}

// wake answers again. A probe whose SYN was dropped gains nothing by it: the SYN is sent again after 1 s.
func (g *target) wake() {
	g.on(func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) })
}

// tally is how many probes were answered so far, and how many were not.
type tally struct{ good, hung int }

func (g *target) tally() (n tally) {
	g.on(func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return err
		}
		n.good = int(info.Unacked) // of a listener: the length of its queue
		var memory [9]uint32
		size := uint32(unsafe.Sizeof(memory))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&memory)), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			return errno
		}
		n.hung = int(memory[8]) // SK_MEMINFO_DROPS
		return nil
	})
	return n
}

// since is what came after that.
func (n tally) since(m tally) tally { return tally{n.good - m.good, n.hung - m.hung} }

func (g *target) on(do func(fd int) error) {
	g.t.Helper()
	rc, err := g.SyscallConn()
	if err != nil {
		g.t.Error(err)
		return
	}
	rc.Control(func(fd uintptr) { err = do(int(fd)) })
	if err != nil {
		g.t.Errorf("probe target: %v", err)
	}
}

// The counting itself.
func TestTarget(t *testing.T) {
	g := newTarget(t)
	dialTCP(t, g.addr())
	dialTCP(t, g.addr())
	g.hang()
	d := quickDialer(50 * time.Millisecond)
	if c, err := d.Dial("tcp", g.addr()); err == nil {
		c.Close()
		t.Error("connected to a target that hangs")
	}
	if got, want := g.tally(), (tally{2, 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	g.wake()
	dialTCP(t, g.addr())
	if got, want := g.tally(), (tally{3, 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
