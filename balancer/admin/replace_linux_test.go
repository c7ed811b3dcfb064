package admin_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"weir/balancer/admin"
)

func put(t *testing.T, file, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

func wantFile(t *testing.T, file, text string, mode fs.FileMode) {
	t.Helper()
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(file)
	if err != nil || string(got) != text || info.Mode() != mode {
		t.Errorf("%s says %q with mode %v (%v), want %q with %v", file, got, info.Mode(), err, text, mode)
	}
}

// wantOnly wants those files in a directory, and no leftovers.
func wantOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(names) {
		t.Errorf("in %s are %v, want %v", dir, got, names)
	}
}

func owner(t *testing.T, file string) (uid, gid uint32) {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	s := info.Sys().(*syscall.Stat_t)
	return s.Uid, s.Gid
}

// A save goes through links: they stay, and what they lead to is replaced where it is.
func TestSaveWritesThroughLinks(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	for _, direct := range []bool{true, false} {
		dir := t.TempDir()
		file := filepath.Join(dir, "releases", "1", "weir.toml")
		put(t, file, "was", 0o664)
		name := filepath.Join(dir, "weir.toml")
		if direct {
			link(t, "releases/1/weir.toml", name)
		} else {
			link(t, "releases/1", filepath.Join(dir, "current"))
			link(t, filepath.Join("current", "weir.toml"), name)
		}
		kept, err := admin.Replace(name, []byte("now"))
		if err != nil || kept != file+".old" {
			t.Fatalf("kept %q, %v, want %q", kept, err, file+".old")
		}
		wantFile(t, file, "now", 0o664)
		wantFile(t, kept, "was", 0o664)
		wantOnly(t, filepath.Dir(file), "weir.toml", "weir.toml.old")
		if info, err := os.Lstat(name); err != nil || info.Mode().Type() != fs.ModeSymlink {
			t.Errorf("the link is %v now (%v)", info.Mode(), err)
		}
	}
}

func TestSaveKeepsTheOwner(t *testing.T) {
	needRoot(t)
	file := filepath.Join(t.TempDir(), "weir.toml")
	put(t, file, "was", 0o640)
	if err := os.Chown(file, 1234, 5678); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Replace(file, []byte("now")); err != nil {
		t.Fatal(err)
	}
	wantFile(t, file, "now", 0o640)
	if uid, gid := owner(t, file); uid != 1234 || gid != 5678 {
		t.Errorf("it belongs to %d:%d", uid, gid)
	}
}

// The access list of a file says more than its mode, and a new file would not have it.
func TestSaveKeepsTheAccessList(t *testing.T) {
	file := filepath.Join(t.TempDir(), "weir.toml")
	put(t, file, "what was there", 0o600)
	acl := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct{ tag, may uint16 }{{1, 6}, {2, 6}, {4, 0}, {0x10, 6}, {0x20, 0}} {
		id := uint32(0xffffffff)
		if e.tag == 2 {
			id = 4321
		}
		acl = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(acl, e.tag), e.may), id)
	}
	if err := unix.Setxattr(file, "system.posix_acl_access", acl, 0); err != nil {
		t.Skipf("SKIPPED: this file system has no access lists: %v", err)
	}
	if _, err := admin.Replace(file, []byte("now")); err != nil {
		t.Fatal(err)
	}
	wantFile(t, file, "now", 0o660) // the list's mask stands where the mode has the group
	if n, err := unix.Getxattr(file, "system.posix_acl_access", nil); err != nil || n != len(acl) {
		t.Errorf("the list has %d bytes (%v), want %d", n, err, len(acl))
	}
}

// A volume of Kubernetes is written by the kubelet alone.
func TestSaveIntoAConfigMap(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "..2024_05_01_12_00_00.123", "weir.toml"), "was", 0o644)
	link(t, "..2024_05_01_12_00_00.123", filepath.Join(dir, "..data"))
	link(t, "..data/weir.toml", filepath.Join(dir, "weir.toml"))
	_, err := admin.Replace(filepath.Join(dir, "weir.toml"), []byte("now"))
	if err == nil || !strings.Contains(err.Error(), "ConfigMap") || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
	wantFile(t, filepath.Join(dir, "..data", "weir.toml"), "was", 0o644)
	wantOnly(t, filepath.Join(dir, "..data"), "weir.toml")
}

// Where no file can take the place of another one that one is written where it is, or nothing is lost.
func TestSaveWhereNoFileCanTakeItsPlace(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		name          string
		dir, file     fs.FileMode
		mount, works  bool
		says, thereIs string
	}{
		{name: "a mounted file", dir: 0o755, file: 0o640, mount: true, works: true},
		{name: "somebody else's that we may write", dir: 0o777, file: 0o666, works: true},
		{name: "somebody else's that we may not write", dir: 0o777, file: 0o644, says: "have the file belong to it"},
		{name: "in a directory that we may not write", dir: 0o755, file: 0o666, says: "let this user (uid 1234) write the directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			top := t.TempDir()
			for dir := top; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) { // for the other user
				if err := os.Chmod(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			dir := filepath.Join(top, "etc")
			file := filepath.Join(dir, "weir.toml")
			put(t, file, "what was there", c.file)
			if err := os.Chmod(dir, c.dir); err != nil {
				t.Fatal(err)
			}
			before, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			out, err := replaceElsewhere(t, file, c.mount)
			after, statErr := os.Stat(file)
			if statErr != nil || !os.SameFile(before, after) {
				t.Errorf("it is another file now: %v", statErr)
			}
			if !c.works {
				if err == nil || !strings.Contains(out, c.says) {
					t.Errorf("got %v: %s\nwant %q", err, out, c.says)
				}
				wantFile(t, file, "what was there", c.file)
				return
			}
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			wantFile(t, file, "now", c.file)
			if got, err := os.ReadFile(file + ".old"); err != nil || string(got) != "what was there" {
				t.Errorf("kept is %q, %v", got, err)
			}
			wantOnly(t, dir, "weir.toml", "weir.toml.old")
		})
	}
}

// replaceElsewhere replaces a file in another process: as another user, or with the file mounted on itself.
func replaceElsewhere(t *testing.T, file string, mount bool) (out string, err error) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(filepath.Dir(filepath.Dir(file)), "program") // where the other user may go
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, text, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), copied, "-test.run=^TestReplaceChild$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "WEIR_TEST_REPLACE="+file, fmt.Sprintf("WEIR_TEST_MOUNT=%t", mount))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1234, Gid: 5678}}
	if mount {
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	}
	all, err := cmd.CombinedOutput()
	return string(all), err
}

// TestReplaceChild is the other process.
func TestReplaceChild(t *testing.T) {
	file := os.Getenv("WEIR_TEST_REPLACE")
	if file == "" {
		return // not that process
	}
	if os.Getenv("WEIR_TEST_MOUNT") == "true" {
		if err := unix.Mount(file, file, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := admin.Replace(file, []byte("now")); err != nil {
		t.Fatal(err)
	}
}

// What cannot be kept keeps the file from being written.
func TestSaveThatCannotKeepWhatThereWas(t *testing.T) {
	file := filepath.Join(t.TempDir(), "weir.toml")
	put(t, file, "was", 0o644)
	put(t, filepath.Join(file+".old", "inside"), "", 0o644) // a directory that is not empty
	if _, err := admin.Replace(file, []byte("now")); !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.EEXIST) {
		t.Errorf("got %v", err)
	}
	wantFile(t, file, "was", 0o644)
	wantOnly(t, filepath.Dir(file), "weir.toml", "weir.toml.old")
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root")
	}
}
