package frontend

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// hasIPv6 says whether this host can have IPv6 sockets.
var hasIPv6 = sync.OnceValue(func() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
})

// ResolveBind turns host:port into one address; localhost is an IPv4 address where there is one. dual says that it takes
// IPv4 clients beside those of IPv6: [::] and an empty host do.
func ResolveBind(b Bind) (a *net.TCPAddr, dual bool, err error) {
	if a, err = net.ResolveTCPAddr(b.Network, b.Address); err != nil {
		return nil, false, err
	}
	if a.IP == nil {
		a.IP = net.IPv6zero
		if b.Network == "tcp4" || !hasIPv6() {
			a.IP = net.IPv4zero
		}
	}
	return a, b.Network == "tcp" && a.IP.To4() == nil && a.IP.IsUnspecified(), nil
}

// bindSocket returns a TCP socket that is bound and does not listen. beside: it shares its port.
func bindSocket(b Bind, beside bool, rules *Rules) (fd int, err error) {
	a, dual, err := ResolveBind(b)
	if err != nil {
		return -1, err
	}
	domain := unix.AF_INET6
	if a.IP.To4() != nil {
		domain = unix.AF_INET
	}
	if fd, err = unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err = bindTo(fd, a, dual, beside, rules); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func bindTo(fd int, a *net.TCPAddr, dual, beside bool, rules *Rules) error {
	set := func(what string, level, name, value int) error {
		return os.NewSyscallError("setsockopt "+what, unix.SetsockoptInt(fd, level, name, value))
	}
	err := set("SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	var sa unix.Sockaddr
	if ip := a.IP.To4(); ip != nil {
		sa = &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(ip)}
	} else {
		zone := uint32(0)
		if a.Zone != "" {
			zone = zoneIndex(a.Zone)
		}
		sa = &unix.SockaddrInet6{Port: a.Port, Addr: [16]byte(a.IP.To16()), ZoneId: zone}
		only := 1
		if dual {
			only = 0
		}
		err = errors.Join(err, set("IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only))
	}
	if rules != nil {
		for _, o := range rules.Socket.ForListener() { // accepted sockets inherit them
			err = errors.Join(err, set(o.What, o.Level, o.Name, o.Value))
		}
	}
	if beside {
		err = errors.Join(err, set("SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	}
	if err != nil {
		return err
	}
	return os.NewSyscallError("bind", unix.Bind(fd, sa))
}

func zoneIndex(zone string) uint32 {
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(zone, 10, 32)
	return uint32(n)
}

// tryBind says whether an address could be bound. It does not listen, so no client notices.
func tryBind(b Bind, beside bool) error {
	fd, err := bindSocket(b, beside, nil)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// sharing is a socket that has SO_REUSEPORT for the time of a move.
type sharing struct{ fd uintptr }

// share lets others be bound beside a socket of this process.
func (m *Move) share(h *held) error {
	for _, fd := range h.descriptors() {
		if on, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT); err == nil && on != 0 {
			continue
		}
		if err := share([]uintptr{fd}, true); err != nil {
			return err
		}
		m.shared = append(m.shared, sharing{fd})
	}
	return nil
}

// unshare ends it: another process of this user could take clients away.
func (m *Move) unshare() {
	for _, s := range m.shared {
		share([]uintptr{s.fd}, false)
	}
	m.shared = nil
}

// share says whether others may be bound beside those sockets.
func share(sockets []uintptr, on bool) error {
	value := 0
	if on {
		value = 1
	}
	for _, fd := range sockets {
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, value); err != nil {
			return os.NewSyscallError("setsockopt SO_REUSEPORT", err)
		}
	}
	return nil
}

// user returns whose the socket is, and whether it is this process's user.
func (h *held) user() (uid int, mine bool) {
	for _, fd := range h.descriptors() {
		var st unix.Stat_t
		if unix.Fstat(int(fd), &st) == nil {
			return int(st.Uid), int(st.Uid) == os.Geteuid()
		}
	}
	return 0, true
}

// noStranger looks whether somebody else listens where an address was just bound with SO_REUSEPORT. Without it the kernel
// would have said so.
func (m *Move) noStranger(w *want) error {
	own := make(map[uint64]bool)
	for _, h := range m.there {
		for _, fd := range h.descriptors() {
			var st unix.Stat_t
			if unix.Fstat(int(fd), &st) == nil {
				own[st.Ino] = true
			}
		}
	}
	for _, family := range []string{"tcp", "tcp6"} {
		err := listening(family, func(r reach, inode uint64) error {
			if !own[inode] && r.overlaps(w.reach) {
				return errStranger
			}
			return nil
		})
		if err != nil && !(family == "tcp6" && errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	return nil
}

// listening calls visit for the sockets of a family that listen: the first of the list (tcp_seq_start of Linux). It
// cannot tell whether [::] takes IPv4 as well, and says that it does.
func listening(family string, visit func(r reach, inode uint64) error) error {
	f, err := os.Open("/proc/thread-self/net/" + family)
	if err != nil {
		return fmt.Errorf("look who listens: %w", err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan(); s.Scan(); { // the first line is a heading
		words := strings.Fields(s.Text())
		if len(words) < 10 || words[3] != "0A" { // TCP_LISTEN
			break
		}
		inode, err := strconv.ParseUint(words[9], 10, 64)
		if err != nil {
			return fmt.Errorf("look who listens: %w", err)
		}
		if r, ok := reachOfHex(words[1]); ok {
			if err := visit(r, inode); err != nil {
				return err
			}
		}
	}
	return s.Err()
}

// reachOfHex reads an address as /proc/net/tcp has it: words of four bytes in the order of the machine.
func reachOfHex(text string) (r reach, ok bool) {
	host, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	n, perr := strconv.ParseUint(port, 16, 16)
	if err != nil || perr != nil || len(raw) != 4 && len(raw) != 16 {
		return r, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	ip, _ := netip.AddrFromSlice(raw)
	return reachOfSocket(net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(n))), false), true
}

// isV6only says whether a socket takes no IPv4.
func isV6only(sockets []uintptr) bool {
	for _, fd := range sockets {
		only, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
		return err == nil && only != 0
	}
	return false
}

// descriptor returns that of a file, which stays in the mode it is in.
func descriptor(f *os.File) (fd uintptr, ok bool) {
	c, err := f.SyscallConn()
	if err != nil {
		return 0, false
	}
	ok = c.Control(func(of uintptr) { fd = of }) == nil
	return fd, ok
}

// withoutSYN is a socket filter that drops what would begin a connection, and lets through what completes one. The kernel
// shows it the TCP header (tcp_filter).
var withoutSYN = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13},                  // the flags
	{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0x12},               // SYN and ACK
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0x02, Jt: 0, Jf: 1}, // SYN alone?
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	{Code: unix.BPF_RET | unix.BPF_K, K: 1<<32 - 1},
}

// dropSYN has listening sockets drop what would begin a connection, or not any more. Who is dropped tries again after a
// second, and is refused then, or served by whoever listens there.
func dropSYN(sockets []uintptr, drop bool) {
	for _, fd := range sockets {
		if !drop {
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
			continue
		}
		unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(withoutSYN)), Filter: &withoutSYN[0]})
	}
}

// BindBeside returns a socket that is bound beside others of this process, and does not listen.
func BindBeside(b Bind, rules *Rules) (*os.File, error) {
	fd, err := bindSocket(b, true, rules)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), b.Address), nil
}
