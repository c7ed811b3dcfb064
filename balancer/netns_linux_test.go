package balancer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// netnsKey is set in the environment of a test binary that was started in a namespace.
const netnsKey = "WEIR_TEST_IN_NETNS"

// inNetns says whether a test runs in a network namespace of its own, with only the loopback in it. If
// not, it runs the test again in one, takes over how that ended, and the test has no more to do:
//
//	func TestX(t *testing.T) {
//		if !inNetns(t) {
//			return
//		}
func inNetns(t *testing.T) bool {
	t.Helper()
	if os.Getenv(netnsKey) == t.Name() {
		ip(t, "link", "set", "lo", "up")
		return true
	}
	needNetns(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	again := exec.CommandContext(ctx, "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=150s")
	again.Env = append(os.Environ(), netnsKey+"="+t.Name())
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := again.CombinedOutput()
	switch {
	case err != nil:
		t.Errorf("in the namespace: %v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP: "+t.Name()+" ")):
		t.Skipf("in the namespace:\n%s", out)
	case !bytes.Contains(out, []byte("--- PASS: "+t.Name()+" ")):
		t.Errorf("the test did not run in the namespace:\n%s", out)
	}
	return false
}

// needNetns skips a test, and says so, where namespaces are not to be had. On CI that is a failure: a
// row that is never tried is no promise.
func needNetns(t *testing.T) {
	t.Helper()
	why := whyNoNetns()
	switch {
	case why == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("no network namespace on CI: %v", why)
	default:
		t.Skipf("SKIPPED, NOT TESTED: no network namespace: %v", why)
	}
}

func whyNoNetns() error {
	if os.Geteuid() != 0 {
		return errors.New("needs root")
	}
	path, err := exec.LookPath("ip")
	if err != nil {
		return fmt.Errorf("needs iproute2: %w", err)
	}
	try := exec.Command(path, "link", "set", "lo", "up")
	try.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if out, err := try.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// ip configures the namespace that the test runs in. See ip(8).
func ip(t *testing.T, args ...string) {
	t.Helper()
	if err := runIP(args...); err != nil {
		t.Fatal(err)
	}
}

func runIP(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// sysctl sets a value of the namespace that the test runs in. See ip-sysctl.rst.
func sysctl(t *testing.T, path, value string) {
	t.Helper()
	if err := setSysctl(path, value); err != nil {
		t.Fatal(err)
	}
}

func setSysctl(path, value string) error {
	return os.WriteFile("/proc/sys/net/"+path, []byte(value), 0)
}

// The addresses at the two ends of the wire.
const near, there = "10.99.0.1", "10.99.0.2"

// failARP makes the near end give up early on a neighbour that does not answer (arp(7)).
func failARP(t *testing.T) {
	t.Helper()
	sysctl(t, "ipv4/neigh/near/retrans_time_ms", "50")
	sysctl(t, "ipv4/neigh/near/mcast_solicit", "1")
	sysctl(t, "ipv4/neigh/near/ucast_solicit", "1")
}

// far is another network namespace, at the far end of a wire. Sockets made there stay there.
type far struct {
	t  *testing.T
	ns *os.File
}

// newFar lays a wire (veth(4)) from the test's namespace to a new one. Nothing else is connected to
// either, so no packet leaves them.
func newFar(t *testing.T) *far {
	t.Helper()
	f := &far{t: t}
	f.locked(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		f.ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	t.Cleanup(func() { f.ns.Close() })
	ns := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.ns.Fd())
	ip(t, "link", "add", "near", "type", "veth", "peer", "name", "far")
	t.Cleanup(func() { runIP("link", "del", "near") })
	ip(t, "link", "set", "far", "netns", ns)
	ip(t, "addr", "add", near+"/24", "dev", "near")
	ip(t, "link", "set", "near", "up")
	f.do(func() error {
		return errors.Join(runIP("link", "set", "lo", "up"), runIP("addr", "add", there+"/24", "dev", "far"),
			runIP("link", "set", "far", "up"))
	})
	return f
}

// do runs something in the far namespace.
func (f *far) do(what func() error) {
	f.t.Helper()
	f.locked(func() error {
		if err := unix.Setns(int(f.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("setns", err)
		}
		return what()
	})
}

// locked runs something on a thread that nobody else gets, before or after.
func (f *far) locked(what func() error) {
	f.t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- what()
	}()
	if err := <-done; err != nil {
		f.t.Fatal(err)
	}
}

// server listens in the far namespace.
func (f *far) server() *server {
	f.t.Helper()
	var l net.Listener
	f.do(func() (err error) {
		var lc net.ListenConfig
		lc.SetMultipathTCP(false)
		l, err = lc.Listen(f.t.Context(), "tcp", there+":0")
		return err
	})
	f.t.Cleanup(func() { l.Close() })
	return &server{f.t, l.(*net.TCPListener)}
}

// dial connects from the far namespace.
func (f *far) dial(addr string) *net.TCPConn {
	f.t.Helper()
	var c net.Conn
	f.do(func() (err error) {
		d := net.Dialer{Timeout: patience}
		d.SetMultipathTCP(false)
		c, err = d.Dial("tcp", addr)
		return err
	})
	return patient(f.t, c).(*net.TCPConn)
}

// vanish cuts the wire: nobody there hears or says anything any more.
func (f *far) vanish() {
	f.t.Helper()
	f.do(func() error { return runIP("link", "set", "far", "down") })
}
