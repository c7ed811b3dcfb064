//go:build linux

package balancer_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// wantPath checks who may connect to a path.
func wantPath(t *testing.T, when, path string, mode os.FileMode, uid, gid int) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	if got := info.Mode().Perm(); got != mode || int(st.Uid) != uid || int(st.Gid) != gid {
		t.Errorf("%s: mode %o, owner %d, group %d; want %o, %d, %d", when, got, st.Uid, st.Gid, mode, uid, gid)
	}
}

// The path of a unix socket gets the mode, the owner and the group of the file, at the start and by a reload, which takes
// them away as well; and a reload that fails leaves them as they were.
func TestB55UnixPermissions(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		s, taken := mirror(t), newServer(t)
		path := filepath.Join(t.TempDir(), "front")
		file := func(keys string) string {
			return fmt.Sprintf("[[frontend]]\nname = \"f\"\nengine = %q\nbind_on = [\"127.0.0.1:0\", { address = \"unix:%s\"%s }]\n", engine, path, keys) + to(s.addr()) + noProbes
		}
		me, mine := os.Geteuid(), os.Getegid()
		mask := unix.Umask(0o027)
		defer unix.Umask(mask)
		w := startWeirFile(t, file(`, mode = "0666"`))
		wantPath(t, "wider than the umask", path, 0o666, me, mine)
		w.mustReload(file(`, mode = "0600"`))
		wantPath(t, "narrower", path, 0o600, me, mine)
		other, others := me, mine
		if me == 0 {
			other, others = 65534, 65533
			w.mustReload(file(`, mode = "0660", owner = "65534", group = "65533"`))
			wantPath(t, "another's", path, 0o660, other, others)
		} else {
			w.mustReload(file(`, mode = "0660"`))
		}
		bad := strings.Replace(file(""), "127.0.0.1:0", taken.addr(), 1)
		if _, err := w.reload(bad); err == nil {
			t.Error("a reload that needs an address in use went well")
		}
		wantPath(t, "after a reload that failed", path, 0o660, other, others)
		w.mustReload(file(""))
		wantPath(t, "by the umask again", path, 0o640, me, mine)
		c := dialUnix(t, path)
		send(t, c, "hello")
		expect(t, c, "hello")
		c.Close()
		// One that is opened anew has them as well.
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		w.mustReload(file(`, mode = "0777"`))
		wantPath(t, "opened anew", path, 0o777, me, mine)
		if me != 0 {
			if _, err := w.reload(file(`, owner = "0"`)); err == nil || !strings.Contains(err.Error(), "only root") {
				t.Errorf("got %v, want that only root can", err)
			}
		}
	})
}

// deny and allow take "unix": the clients of unix sockets have no address.
func TestUnixClientsByName(t *testing.T) {
	everyEngine(t, func(t *testing.T, engine string) {
		for _, at := range []struct {
			keys          string
			byUnix, byTCP bool
		}{
			{``, true, true},
			{`deny = "unix"`, false, true},
			{`allow = "unix"`, true, false},
			{`allow = "127.0.0.0/8"`, true, true},
			{`allow = ["unix", "127.0.0.0/8"]` + "\n" + `deny = "unix"`, false, true},
		} {
			s := mirror(t)
			path := filepath.Join(t.TempDir(), "front")
			w := startWeir(t, engine, fmt.Sprintf("bind_on = [\"127.0.0.1:0\", \"unix:%s\"]\n%s", path, at.keys),
				to(s.addr())+noProbes)
			for network, let := range map[string]bool{"unix": at.byUnix, "tcp": at.byTCP} {
				c, err := net.DialTimeout(network, map[string]string{"unix": path, "tcp": w.addr}[network], patience)
				if !let { // the reset may come before connect(2) has returned
					if err == nil {
						expectClosed(t, patient(t, c))
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				patient(t, c)
				send(t, c, "x")
				expect(t, c, "x")
				c.Close()
			}
		}
	})
}
