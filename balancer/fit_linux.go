package balancer

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// portFault says why this process may not listen on a port; "": it may (capabilities(7), ip(7)).
func portFault(port string) string {
	number, err := strconv.Atoi(port)
	if err != nil || number == 0 {
		return ""
	}
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		return ""
	}
	first, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || number >= first || hasCapability(unix.CAP_NET_BIND_SERVICE) {
		return ""
	}
	return "those below " + strconv.Itoa(first) + " need a privilege"
}

// hasCapability says whether this process may use one.
func hasCapability(number uint) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return true // not known
	}
	return data[number/32].Effective&(1<<(number%32)) != 0
}
