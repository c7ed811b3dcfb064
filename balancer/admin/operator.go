package admin

import (
	"context"
	"errors"
	"fmt"
)

// Operator is what the door needs of the running balancer. Its methods may be called by many goroutines at
// the same time. Each change is told who asked for it; the door logs it, so an Operator need not.
//
// Errors made with [NotFound], [Invalid] or [Conflict], and config.Mistakes, are the fault of who
// asked, and are told with their text. All others are the balancer's own.
type Operator interface {
	// Ready says whether clients should be sent here. When not, why: one word, such as "stopping".
	Ready() (ok bool, why string)
	Status() Status

	// Sessions returns one page of the live sessions. The cursor of a query is one that it returned before,
	// or empty.
	Sessions(context.Context, SessionQuery) (SessionPage, error)
	// Session returns a live session, or one of the last that ended.
	Session(ctx context.Context, id uint64) (Session, error)
	// Kill ends the live sessions that a selector means. The door hands on no selector that means all without saying so.
	// One that has a rate takes its time: tell is told how far it has come now and then, and when ctx ends no more are
	// ended. What it returns is true with an error as well.
	Kill(ctx context.Context, who Who, k KillSelector, tell func(Killed)) (Killed, error)

	// Backend returns one backend, also one that is removed and still has sessions.
	Backend(ctx context.Context, frontend, backend string) (Backend, error)
	// SetBackend, AddBackend and RemoveBackend return what the backend is afterwards. One that is removed
	// drains first.
	SetBackend(ctx context.Context, who Who, frontend, backend string, change BackendChange) (Backend, error)
	AddBackend(ctx context.Context, who Who, frontend string, b NewBackend) (Backend, error)
	RemoveBackend(ctx context.Context, who Who, frontend, backend string) (Backend, error)

	// Why tells what a connection from that client would get now, of each frontend, or of one if it is named, and at
	// each listening address that makes a difference, or at one if it is named.
	Why(ctx context.Context, client, frontend, bind string) ([]Why, error)
	// Events tells what happens from now on, until ctx ends; then the channel is closed. It never waits for
	// its reader: see [Feed].
	Events(context.Context) <-chan Event

	// Reload reads the file again and applies it. Nothing has changed when it returns an error.
	Reload(context.Context, Who) (Plan, error)
	// Plan says what a file with that name and text would change, and changes nothing. Files that it names
	// are looked for beside that name.
	Plan(ctx context.Context, file string, text []byte) (Plan, error)
	// Upgrade starts the binary anew and hands the listening sockets over. It returns when the new process
	// is ready; with an error, this one goes on.
	Upgrade(context.Context, Who) (Upgraded, error)
	// Save writes what differs from the file into the file.
	Save(context.Context, Who) (Saved, error)
	// Failback has new sessions of a frontend leave the backups, which have kept them since they took over.
	Failback(ctx context.Context, who Who, frontend string) (FailedBack, error)
}

// What is wrong with a request. See [NotFound], [Invalid] and [Conflict].
var (
	ErrNotFound = errors.New("not found")
	ErrInvalid  = errors.New("invalid")
	ErrConflict = errors.New("conflict") // right in itself, but not now
)

// NotFound returns an error that is an [ErrNotFound] and says only what it is told to say.
func NotFound(format string, args ...any) error { return wrongly(ErrNotFound, format, args) }

// Invalid returns likewise an [ErrInvalid].
func Invalid(format string, args ...any) error { return wrongly(ErrInvalid, format, args) }

// Conflict returns likewise an [ErrConflict].
func Conflict(format string, args ...any) error { return wrongly(ErrConflict, format, args) }

// fault is an error of a kind.
type fault struct {
	kind error
	text string
}

func wrongly(kind error, format string, args []any) error {
	return &fault{kind, fmt.Sprintf(format, args...)}
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.kind }
