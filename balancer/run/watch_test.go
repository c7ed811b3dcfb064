//go:build linux

package run

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"weir/backend/contain"
	"weir/balancer"
	"weir/config"
)

// stage is a directory with a configuration, and a watcher that tells what it would have done. Its clock is that of
// a bubble: see [synctest].
type stage struct {
	t   *testing.T
	dir string
	w   *watcher

	mu        sync.Mutex     // the race detector does not know that time stands still while a scene acts
	now       *config.Config // what is gone by
	followed  int
	refreshed int
	wrong     []string
	log       strings.Builder
	sessions  bool // each backend has some
	panics    bool
}

// backends is a file with those backends, and what else it says of the frontend.
func backends(keys string, ports ...int) string {
	text := "[frontend]\nbind_on = \"127.0.0.1:0\"\n" + keys
	for _, p := range ports {
		text += fmt.Sprintf("[[frontend.backend]]\nforward_to = \"127.0.0.1:%d\"\n", p)
	}
	return text
}

// onStage runs a scene that begins with two backends in weir.toml.
func onStage(t *testing.T, scene func(s *stage)) { onStageWith(t, scene, backends("", 1, 2)) }

func onStageWith(t *testing.T, scene func(s *stage), text string) {
	t.Helper()
	s := &stage{t: t, dir: t.TempDir()}
	s.write("weir.toml", text)
	s.play(filepath.Join(s.dir, "weir.toml"), scene)
}

// play runs a scene in which a file is watched.
func (s *stage) play(file string, scene func(s *stage)) {
	synctest.Test(s.t, func(t *testing.T) {
		s.t = t
		cfg, err := config.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		s.now = cfg
		s.w = &watcher{
			camera: camera{file: file}, settle: DefaultSettle, log: zerolog.New(zerolog.SyncWriter(&s.log)), guard: contain.New(nil),
			follows:   s.follows,
			takesAway: s.takesAway,
			follow:    s.follow,
			refresh:   func() { s.set(func() { s.refreshed++ }) },
			wrong:     func(err error) { s.set(func() { s.wrong = append(s.wrong, err.Error()) }) },
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.w.watch(ctx) }()
		s.after(10 * time.Second) // it has seen how things are
		scene(s)
		cancel()
		<-done
	})
}

// set changes what the watcher reads too.
func (s *stage) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *stage) follows(c *config.Config) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(balancer.Compare(s.now, c)) == 0
}

func (s *stage) follow(_ context.Context, r *config.Reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.followed++
	if s.panics {
		panic("broken")
	}
	s.now = r.Config
}

func (s *stage) takesAway(c *config.Config) (what []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.sessions {
		return nil
	}
	for _, change := range balancer.Compare(s.now, c) {
		if change.To == "" {
			what = append(what, change.What())
		}
	}
	return what
}

// after lets time go by.
func (s *stage) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (s *stage) write(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// point has a link lead elsewhere, in one step.
func (s *stage) point(name, to string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.Symlink(to, path+".part"); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(path+".part", path); err != nil {
		s.t.Fatal(err)
	}
}

// want is what has been done so far.
func (s *stage) want(when string, followed, refreshed, wrong int) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.followed != followed || s.refreshed != refreshed || len(s.wrong) != wrong {
		s.t.Errorf("%s: followed %d times, refreshed %d, wrong %q; want %d, %d and %d of those",
			when, s.followed, s.refreshed, s.wrong, followed, refreshed, wrong)
	}
}

func (s *stage) wantBackends(when string, want int) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := len(s.now.Frontends[0].Backends); got != want {
		s.t.Errorf("%s: %d backends, want %d", when, got, want)
	}
}

// A file that is written in steps is gone by when it is whole, and 2 s have passed.
func TestWatchWaitsUntilTheFileIsWhole(t *testing.T) {
	onStage(t, func(s *stage) {
		whole := backends("retries = 1\n", 1, 2, 3)
		for part := range slices.Chunk([]byte(whole), 1+len(whole)/20) {
			f, err := os.OpenFile(filepath.Join(s.dir, "weir.toml.part"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
			if err != nil {
				s.t.Fatal(err)
			}
			f.Write(part)
			f.Close()
			text, _ := os.ReadFile(f.Name())
			s.write("weir.toml", string(text))
			s.after(600 * time.Millisecond)
			s.want("while it is written", 0, 0, 0)
		}
		s.after(DefaultSettle / 2)
		s.want("a second later", 0, 0, 0)
		s.after(DefaultSettle)
		s.want("when it has been still", 1, 0, 0)
		s.wantBackends("then", 3)
		s.after(time.Hour)
		s.want("and that was all", 1, 0, 0)
	})
}

// The half of a file that is a right file takes nothing away that sessions run on.
func TestWatchTakesAwayLast(t *testing.T) {
	onStage(t, func(s *stage) {
		s.set(func() { s.sessions = true })
		s.write("weir.toml", backends("", 1))
		s.after(5 * time.Second)
		s.want("half a file for 5 s", 0, 0, 0)
		if got := s.log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "127.0.0.1:2") {
			t.Errorf("the log says %s", got)
		}
		s.write("weir.toml", backends("", 1, 2))
		s.after(time.Minute)
		s.want("the whole of it again", 0, 0, 0)
		s.write("weir.toml", backends("", 1))
		s.after(9 * time.Second)
		s.want("meant, after 9 s", 0, 0, 0)
		s.after(3 * time.Second)
		s.want("after 12 s", 1, 0, 0)
		s.wantBackends("then", 1)
		s.write("weir.toml", backends("", 1, 2, 3))
		s.after(3 * time.Second)
		s.want("what takes nothing away does not wait", 2, 0, 0)
	})
}

// Once the sessions have ended there is nothing to wait for.
func TestWatchTakesAwayWhatIsEmpty(t *testing.T) {
	onStage(t, func(s *stage) {
		s.set(func() { s.sessions = true })
		s.write("weir.toml", backends("", 1))
		s.after(3 * time.Second)
		s.want("with sessions", 0, 0, 0)
		s.set(func() { s.sessions = false })
		s.after(time.Second)
		s.want("without", 1, 0, 0)
	})
}

// However a file is reached, and whatever is changed on the way to it, is seen.
func TestWatchFollowsLinks(t *testing.T) {
	one, two := backends("", 1), backends("", 1, 2)
	for _, c := range []struct {
		name, file string
		set, turn  func(s *stage)
	}{
		{"a link to a file", "weir.toml",
			func(s *stage) { s.write("1.toml", one); s.write("2.toml", two); s.point("weir.toml", "1.toml") },
			func(s *stage) { s.point("weir.toml", "2.toml") }},
		{"what a link leads to", "weir.toml",
			func(s *stage) { s.write("elsewhere/1.toml", one); s.point("weir.toml", "elsewhere/1.toml") },
			func(s *stage) { s.write("elsewhere/1.toml", two) }},
		{"a link to a directory", "current/etc/weir.toml",
			func(s *stage) {
				s.write("1/etc/weir.toml", one)
				s.write("2/etc/weir.toml", two)
				s.point("current", "1")
			},
			func(s *stage) { s.point("current", "2") }},
		{"a link in the middle of a chain", "weir.toml",
			func(s *stage) {
				s.write("1/weir.toml", one)
				s.write("2/weir.toml", two)
				s.point("current", "1")
				s.point("now", "current")
				s.point("weir.toml", "now/weir.toml")
			},
			func(s *stage) { s.point("current", "2") }},
		{"a ConfigMap", "weir.toml",
			func(s *stage) {
				s.write("..2024_01/weir.toml", one)
				s.point("..data", "..2024_01")
				s.point("weir.toml", "..data/weir.toml")
			},
			func(s *stage) {
				s.write("..2024_02/weir.toml", two)
				s.point("..data", "..2024_02")
				os.RemoveAll(filepath.Join(s.dir, "..2024_01"))
			}},
		{"a directory that is renamed", "etc/weir.toml",
			func(s *stage) { s.write("etc/weir.toml", one); s.write("new/weir.toml", two) },
			func(s *stage) {
				os.Rename(filepath.Join(s.dir, "etc"), filepath.Join(s.dir, "old"))
				os.Rename(filepath.Join(s.dir, "new"), filepath.Join(s.dir, "etc"))
			}},
		{"a file that is replaced", "weir.toml",
			func(s *stage) { s.write("weir.toml", one); s.write("weir.toml~", two) },
			func(s *stage) { os.Rename(filepath.Join(s.dir, "weir.toml~"), filepath.Join(s.dir, "weir.toml")) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &stage{t: t, dir: t.TempDir()}
			c.set(s)
			s.play(filepath.Join(s.dir, c.file), func(s *stage) {
				s.want("before", 0, 0, 0)
				c.turn(s)
				s.after(3 * time.Second)
				s.want("after", 1, 0, 0)
				s.wantBackends("then", 2)
			})
		})
	}
}

// Time stamps can be set back: the kernel's own cannot.
func TestWatchSeesAChangeWithTheOldTime(t *testing.T) {
	onStageWith(t, func(s *stage) {
		file := filepath.Join(s.dir, "weir.toml")
		was, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		s.write("weir.toml", backends("", 2))
		if err := os.Chtimes(file, was.ModTime(), was.ModTime()); err != nil {
			t.Fatal(err)
		}
		s.after(3 * time.Second)
		s.want("same size, same time", 1, 0, 0)
	}, backends("", 1))
}

// Lists are gone by as the file is; a token and keys are read again, and what an operator changed stays.
func TestWatchSeesFilesThatAreNamed(t *testing.T) {
	dir := t.TempDir()
	s := &stage{t: t, dir: dir}
	s.write("lists/allow", "127.0.0.0/8\n")
	s.point("allow", "lists/allow")
	s.write("secrets/token", "a-token-of-many-bytes")
	s.point("token", "secrets/token")
	s.write("weir.toml", "[admin]\nbind_on = \"127.0.0.1:0\"\ntoken_file = \"token\"\n"+backends("allow_file = \"allow\"\n", 1, 2))
	s.play(filepath.Join(dir, "weir.toml"), func(s *stage) {
		s.write("lists/allow", "127.0.0.0/8\n10.0.0.0/8\n")
		s.after(3 * time.Second)
		s.want("the list", 1, 0, 0)
		s.set(func() {
			if got := len(s.now.Frontends[0].AllowListed); got != 2 {
				t.Errorf("%d prefixes", got)
			}
		})
		s.write("secrets/token", "another-token-of-many-bytes")
		s.after(3 * time.Second)
		s.want("the token", 1, 1, 0)
		s.write("secrets/token", "short")
		s.after(3 * time.Second)
		s.want("a wrong token", 1, 1, 1)
		s.write("secrets/token", "a-third-token-of-many-bytes")
		s.after(3 * time.Second)
		s.want("a right one", 1, 2, 1)
		s.write("weir.toml", backends("deny_file = \"deny\"\n", 1, 2))
		s.after(30 * time.Second)
		s.want("a list that is not there", 1, 2, 2)
		s.write("deny", "10.0.0.0/8\n")
		s.after(3 * time.Second)
		s.want("and now is", 2, 2, 2)
	})
}

// A file that is away for a moment is no fault; one that stays away is, once.
func TestWatchMissingFile(t *testing.T) {
	onStage(t, func(s *stage) {
		os.Rename(filepath.Join(s.dir, "weir.toml"), filepath.Join(s.dir, "away"))
		s.after(5 * time.Second)
		s.want("away for 5 s", 0, 0, 0)
		os.Rename(filepath.Join(s.dir, "away"), filepath.Join(s.dir, "weir.toml"))
		s.after(time.Minute)
		s.want("back", 0, 0, 0)
		os.Rename(filepath.Join(s.dir, "weir.toml"), filepath.Join(s.dir, "away"))
		s.after(time.Hour)
		s.want("away for good", 0, 0, 1)
		s.write("weir.toml", backends("", 1))
		s.after(3 * time.Second)
		s.want("a new one", 1, 0, 1)
	})
}

// What is wrong is said once, until it says something else.
func TestWatchWrongFile(t *testing.T) {
	onStage(t, func(s *stage) {
		for i, wrong := range []string{"what?", "what else?"} {
			s.write("weir.toml", wrong)
			s.after(time.Hour)
			s.want(wrong, 0, 0, i+1)
		}
		s.write("weir.toml", "what else?") // written again
		s.after(time.Hour)
		s.want("the same", 0, 0, 2)
		s.write("weir.toml", backends("", 1))
		s.after(3 * time.Second)
		s.want("a right one", 1, 0, 2)
	})
}

// What weir goes by already, after a SIGHUP or a save, is no change: it would undo what an operator said since.
func TestWatchLeavesWhatIsGoneBy(t *testing.T) {
	onStage(t, func(s *stage) {
		text := backends("retries = 7\n", 1, 2)
		s.write("weir.toml", text)
		cfg, err := config.Load(filepath.Join(s.dir, "weir.toml"))
		if err != nil {
			t.Fatal(err)
		}
		s.set(func() { s.now = cfg }) // as a reload does
		s.after(time.Minute)
		s.want("reloaded by hand", 0, 0, 0)
		s.write("weir.toml", text+"# a comment\n")
		s.after(time.Minute)
		s.want("a comment", 0, 0, 0)
	})
}

// A panic is contained, and the next change is gone by.
func TestB72WatchGoesOnAfterAPanic(t *testing.T) {
	onStage(t, func(s *stage) {
		s.set(func() { s.panics = true })
		s.write("weir.toml", backends("", 1))
		s.after(3 * time.Second)
		s.set(func() { s.panics = false })
		s.write("weir.toml", backends("", 1, 2, 3))
		s.after(3 * time.Second)
		s.want("after the panic", 2, 0, 0)
		s.wantBackends("then", 3)
		if got := s.w.guard.Count(); got != 1 {
			t.Errorf("%d panics counted", got)
		}
	})
}
