package load

import "golang.org/x/sys/unix"

// gone returns those whose peer has reset, or has ended its stream and had all of its answers. The locks of
// all are held meanwhile: a reset that comes in the middle of a read or a write takes effect when that is
// over.
func gone(all []*guest) (list []*guest) {
	polled := make([]unix.PollFd, len(all))
	for i, one := range all {
		one.mu.Lock()
		defer one.mu.Unlock()
		polled[i] = unix.PollFd{Fd: int32(one.fd), Events: unix.POLLRDHUP}
	}
	for {
		if _, err := unix.Poll(polled, 0); err != unix.EINTR { // a signal interrupts even this
			break
		}
	}
	for i, one := range all {
		const lost = unix.POLLERR | unix.POLLHUP
		if ev := polled[i].Revents; ev&lost != 0 || ev&unix.POLLRDHUP != 0 && one.answered() {
			list = append(list, one)
		}
	}
	return list
}

// answered reports that there is nothing to read and nothing to send. The lock is held.
func (one *guest) answered() bool {
	unread, err := unix.IoctlGetInt(one.fd, unix.TIOCINQ)
	return err == nil && unread == 0 && !one.owed
}
