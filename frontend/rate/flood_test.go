package rate

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// stranger is the i-th address of a flood; each is a /64 of its own.
func stranger(i int) netip.Addr {
	b := [16]byte{0x20, 0x01}
	binary.BigEndian.PutUint32(b[4:], uint32(i))
	return netip.AddrFrom16(b)
}

func friend(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

const perClient = 52 // bytes, as the comment on Clients has it

// A million addresses come while a thousand clients are connected: those who hold their sessions, and
// those who leave at once.
func TestFlood(t *testing.T) {
	for name, hold := range map[string]bool{"holding": true, "leaving": false} {
		t.Run(name, func(t *testing.T) {
			before := heap()
			c := NewClients(Options{Rate: 10, Burst: 20, MaxSessions: 2})
			var friends [1000][2]Ref
			for i := range friends {
				for k := range friends[i] {
					friends[i][k], _ = c.Open(friend(i), 0)
				}
			}
			refs := flood(t, c, time.Hour, 1_000_000, hold)
			if grown := heap() - before - int64(8*cap(refs)); grown > perClient*defaultSize {
				t.Errorf("the table has %d bytes for each of %d clients, want %d", grown/defaultSize, defaultSize, perClient)
			} else {
				t.Logf("%.1f bytes for each client", float64(grown)/defaultSize)
			}
			for i := range friends {
				if _, got := c.Open(friend(i), 2*time.Hour); got != TooMany {
					t.Fatalf("client %d has two sessions and opens one more: got %q", i, got)
				}
				c.Close(friends[i][0])
				if _, got := c.Open(friend(i), 2*time.Hour); got != OK {
					t.Fatalf("client %d has one session and opens one more: got %q", i, got)
				}
			}
			for _, ref := range refs {
				c.Close(ref)
			}
			if got := flood(t, c, 3*time.Hour, defaultSize/2, true); len(got) != defaultSize/2 {
				t.Errorf("after the flood %d of %d new clients get in", len(got), defaultSize/2)
			}
			runtime.KeepAlive(c)
		})
	}
}

// flood opens a session of each of n addresses, one every microsecond, and returns those that are open.
func flood(t testing.TB, c *Clients, start time.Duration, n int, hold bool) []Ref {
	refs := make([]Ref, 0, n)
	for i := range n {
		ref, v := c.Open(stranger(i), start+time.Duration(i)*time.Microsecond)
		switch {
		case v == OK && hold:
			refs = append(refs, ref)
		case v == OK:
			c.Close(ref)
		case v != TableFull:
			t.Fatalf("address %d, which comes once: got %q", i, v)
		}
	}
	return refs
}

// What a flood may do is what as many clients may as the table has room for, and one more a part.
func TestFloodIsBounded(t *testing.T) {
	o := Options{MaxSessions: 3, Size: 10_000}
	c := NewClients(o)
	shards, each := share(o.Size)
	got := 0
	for i := range 200_000 {
		if _, v := c.Open(stranger(i), 0); v == OK {
			got++
		}
	}
	// Each address comes once, so each entry has one session, and the shared ones have three.
	if want := shards * (each + o.MaxSessions); got != want {
		t.Errorf("got %d sessions, want %d", got, want)
	}
}

// Size clients are known, however the hash divides them.
func TestSizeIsKept(t *testing.T) {
	for _, size := range []int{1, 2, 15, 16, 17, 8191, 8192, 50_000} {
		c := NewClients(Options{MaxSessions: 1, Size: size})
		for i := range size {
			c.Open(stranger(i), 0)
		}
		if s := c.Stats(); s.Known != size || s.Shared != 0 {
			t.Errorf("%d clients: got %+v", size, s)
		}
	}
}

// The table does not grow while there are clients to forget instead.
func TestGrowsWithUse(t *testing.T) {
	before := heap()
	c := NewClients(Options{Rate: 1000, Burst: 1, Size: 1 << 20})
	empty := heap() - before
	for i := range 200_000 {
		c.Open(stranger(i), time.Duration(i)*10*time.Microsecond)
	}
	if grown := heap() - before - empty; grown > 64<<10 {
		t.Errorf("the table grew by %d bytes for 100 clients at a time", grown)
	}
	if empty > 1<<20 {
		t.Errorf("an empty table has %d bytes", empty)
	}
	runtime.KeepAlive(c)
}

// No client ever has more than its sessions, whoever opens and closes them at the same time.
func TestConcurrentUse(t *testing.T) {
	const clients, workers, most = 20, 8, 3
	c := NewClients(Options{Rate: 1e6, Burst: 10, MaxSessions: most, Size: clients / 2})
	var now, served atomic.Int64
	var live [clients]atomic.Int64
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := range 20_000 {
				k := (w + i) % clients
				ref, v := c.Open(friend(k), time.Duration(now.Add(1000)))
				if v != OK {
					continue
				}
				// One client may have its own sessions and, from when it was not known, the shared ones.
				if got := live[k].Add(1); got > 2*most {
					t.Errorf("client %d has %d sessions", k, got)
				}
				served.Add(1)
				live[k].Add(-1)
				c.Close(ref)
				c.Stats()
			}
		})
	}
	group.Wait()
	if served.Load() == 0 {
		t.Error("nobody was served")
	}
	if got := c.Stats().Known; got > clients/2 {
		t.Errorf("%d clients are known", got)
	}
	for k := range clients {
		at := time.Duration(now.Load()) + time.Duration(k+1)*time.Hour
		for range most {
			if _, v := c.Open(friend(k), at); v != OK && k < clients/2 {
				t.Errorf("client %d after all have left: got %q", k, v)
			}
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	c := NewClients(Options{Rate: 1e9, Burst: 1, MaxSessions: 1, Size: 1000})
	flood(t, c, 0, 5000, true)
	i := 0
	got := testing.AllocsPerRun(1000, func() {
		i++
		ref, _ := c.Open(friend(i), time.Duration(i)*time.Hour)
		c.Close(ref)
	})
	if got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}
