package reactor

import (
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// Pin keeps each loop on a core of its own from now on, and has it take the clients whose packets arrive at that
// core: all that is done for a session is then done on one core. Listeners take it up when they begin, and when they next
// Follow. It fails when MayPin does.
func (r *Reactor) Pin() error {
	cpus, err := coresFor(len(r.cores))
	if err != nil {
		return err
	}
	r.setCPUs(cpus)
	return nil
}

// Unpin is the opposite.
func (r *Reactor) Unpin() { r.setCPUs(nil) }

// MayPin says why so many loops cannot be pinned: there is not one for each core that the process may use, as with a quota
// of CPU time.
func MayPin(loops int) error {
	_, err := coresFor(loops)
	return err
}

func coresFor(loops int) (cpus []int, err error) {
	may, err := affinity()
	if err != nil {
		return nil, err
	}
	if may.Count() != loops {
		return nil, fmt.Errorf("there are %d loops for %d cores", loops, may.Count())
	}
	for cpu := 0; len(cpus) < loops; cpu++ {
		if may.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// affinity returns the cores that the process may use, as they were before any thread was bound to one.
var affinity = sync.OnceValues(func() (may unix.CPUSet, err error) {
	return may, os.NewSyscallError("sched_getaffinity", unix.SchedGetaffinity(0, &may))
})

// setCPUs has each loop move its thread to its core, or to any.
func (r *Reactor) setCPUs(cpus []int) {
	if cpus == nil && r.cpus.Load() == nil {
		return
	}
	r.cpus.Store(&cpus)
	for i, c := range r.cores {
		c.Post(func() { r.move(i) })
	}
}

// pinned returns the cores of the loops; nil: they have none.
func (r *Reactor) pinned() []int {
	if cpus := r.cpus.Load(); cpus != nil {
		return *cpus
	}
	return nil
}

// move moves this thread to where the loop is to run.
func (r *Reactor) move(i int) {
	var to unix.CPUSet
	if cpus := r.pinned(); cpus != nil {
		to.Set(cpus[i])
	} else {
		to = r.may
	}
	unix.SchedSetaffinity(0, &to) // if that fails it runs where it did
}

// run runs a loop, on its core if it has one.
func (r *Reactor) run(i int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if r.pinned() != nil {
		r.move(i)
	}
	r.cores[i].Run()
	if r.pinned() != nil { // the thread is used for something else afterwards
		unix.SchedSetaffinity(0, &r.may)
	}
}

// steer says which of the sockets that share an address gets a client: that of the loop on whose core its packets
// arrive, or with loops that are not pinned the one that the kernel chooses by a hash (SO_ATTACH_REUSEPORT_CBPF in
// socket(7)). The kernel numbers the sockets in the order in which they began to listen, which is that of the
// loops.
func (r *Reactor) steer(b *binding) {
	fd, cpus := b.listeners[0].fd, r.pinned()
	if len(b.listeners) != len(cpus) || len(cpus) < 2 {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0) // of the process before; or there is none
		return
	}
	program := steering(cpus)
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
