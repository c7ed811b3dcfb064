package frontend

import "time"

// watchAfter is how long a session connects before it looks out for its client's leaving: most have
// connected by then, and need no one to watch.
const watchAfter = 10 * time.Millisecond

// watch cancels a session whose client leaves before it has a backend.
type watch struct {
	session *copySession
	timer   *time.Timer
	over    chan struct{} // closed when the watching has ended
}

func (s *copySession) watchClient() *watch {
	w := &watch{session: s, over: make(chan struct{})}
	w.timer = time.AfterFunc(watchAfter, w.run)
	return w
}

func (w *watch) run() {
	defer close(w.over)
	w.session.server.contains("watch on a client")(func() {
		if untilGone(w.session.client, w.session.leavesOnEnd) {
			w.session.cancel()
		}
	})
}

// stop ends the watching and leaves no trace on the socket.
func (w *watch) stop() {
	if w.timer.Stop() {
		return
	}
	w.session.client.SetReadDeadline(longAgo)
	<-w.over
	w.session.client.SetReadDeadline(time.Time{})
}

var longAgo = time.Unix(1, 0)
