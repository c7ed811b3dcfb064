package reactor

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Pin keeps each loop on a core of its own from Start on, and has it take the clients whose packets arrive at that
// core: all that is done for a session is then done on one core. Call it before Start and Open. It fails when there
// is not one loop for each core that the process may use, as with a quota of CPU time.
func (r *Reactor) Pin() error {
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	if may.Count() != len(r.cores) {
		return fmt.Errorf("there are %d loops for %d cores", len(r.cores), may.Count())
	}
	for cpu := 0; len(r.cpus) < len(r.cores); cpu++ {
		if may.IsSet(cpu) {
			r.cpus = append(r.cpus, cpu)
		}
	}
	return nil
}

// run runs a loop, on its core if it has one.
func (r *Reactor) run(i int) {
	if r.cpus == nil {
		r.cores[i].Run()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	one.Set(r.cpus[i])
	if unix.SchedGetaffinity(0, &before) == nil && unix.SchedSetaffinity(0, &one) == nil {
		defer unix.SchedSetaffinity(0, &before) // the thread is used for something else afterwards
	}
	r.cores[i].Run()
}

// steer says which of the sockets that share an address gets a client: that of the loop on whose core its packets
// arrive, or with loops that are not pinned the one that the kernel chooses by a hash (SO_ATTACH_REUSEPORT_CBPF in
// socket(7)). The kernel numbers the sockets in the order in which they began to listen, which is that of the
// loops.
func (r *Reactor) steer(b *binding) {
	fd := b.listeners[0].fd
	if len(b.listeners) != len(r.cpus) || len(r.cpus) < 2 {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0) // of the process before; or there is none
		return
	}
	program := steering(r.cpus)
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	if err != nil { // sockets of another process, which do not share
		b.listeners[0].port.Log.Debug().Err(err).Msg("clients are not steered to the cores that their packets arrive at")
	}
}

// steering is a program that returns the place of the core it runs on in that list. For another core, which is not
// the process's, it returns what is no socket's number: the kernel then goes by its hash.
func steering(cpus []int) []unix.SockFilter {
	const (
		loadCPU = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		isCPU   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		answer  = unix.BPF_RET | unix.BPF_K
		thisCPU = 1<<32 - 0x1000 + 36 // SKF_AD_OFF + SKF_AD_CPU of linux/filter.h
	)
	program := []unix.SockFilter{{Code: loadCPU, K: thisCPU}}
	for i, cpu := range cpus {
		program = append(program, unix.SockFilter{Code: isCPU, Jf: 1, K: uint32(cpu)}, unix.SockFilter{Code: answer, K: uint32(i)})
	}
	return append(program, unix.SockFilter{Code: answer, K: 1<<32 - 1})
}
