package metrics

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"weir/backend"
)

// The names of labels. All metrics of a family have the same.
const (
	frontendLabel  = "frontend"
	backendLabel   = "backend"
	classLabel     = "class"
	outcomeLabel   = "outcome"
	directionLabel = "direction"
	stateLabel     = "state"
	reasonLabel    = "reason"
	resultLabel    = "result"
)

// Labels whose values are known beforehand.
var (
	success      = pair(resultLabel, "success") // of a reload
	failure      = pair(resultLabel, "failure")
	passed       = pair(resultLabel, "passed") // of a probe
	failed       = pair(resultLabel, "failed")
	inconclusive = pair(resultLabel, "inconclusive")
	up           = pair(directionLabel, "up")
	down         = pair(directionLabel, "down")

	// states are those that a backend of a pool can have, and reasons why a connection can fail, in the order in
	// which the registry wants them: see byName.
	states       = []backend.State{backend.Disabled, backend.Down, backend.Drain, backend.Ejected, backend.Maint, backend.Up}
	stateLabels  = labels(stateLabel, states, func(s backend.State) string { return string(s) })
	reasons      = sortedReasons()
	reasonLabels = labels(reasonLabel, reasons, backend.Failure.String)
)

func labels[T any](name string, values []T, word func(T) string) (list []label) {
	for _, v := range values {
		list = append(list, pair(name, word(v)))
	}
	return list
}

func sortedReasons() (list []backend.Failure) {
	for i := range (backend.Totals{}).Failed {
		list = append(list, backend.Failure(i))
	}
	slices.SortFunc(list, func(a, b backend.Failure) int { return strings.Compare(a.String(), b.String()) })
	return list
}

// All that the collector may send.
var descs []*prometheus.Desc

func desc(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc("weir_"+name, help, labels, nil)
	descs = append(descs, d)
	return d
}

// Of the whole.
var (
	reloadsTotal = desc("config_reloads_total",
		"Changes to another configuration, by a reload or an operator, by whether they came about.", resultLabel)
	reloadSucceeded = desc("config_last_reload_successful",
		"Whether the last reload came about: 1 or 0. Without any it is 1.")
	reloadTime = desc("config_last_reload_success_timestamp_seconds",
		"When the configuration that holds came to hold, in Unix time.")
	panics = desc("panics_total",
		"Panics that were contained, but for those of sessions, which have the outcome \"internal error\". Each is a fault of weir's: please report the stack in the log.")
	logDropped = desc("log_lines_dropped_total",
		"Lines of the log that did not fit the queue, for it is read too slowly.")
	logLost = desc("log_lines_lost_total",
		"Lines of the log that could not be written: the reader is gone, the disk is full, or stderr is closed.")
	linesDropped = desc("log_session_lines_dropped_total",
		"Lines of sessions that were not logged, for there were more than the log's rate.")
)

// By frontend.
var (
	sessionsOpened = desc("sessions_opened_total",
		"Client connections accepted, those included that were turned away.", frontendLabel)
	sessionsClosed = desc("sessions_closed_total",
		"Sessions that have ended, by outcome: the same words as in the log.", frontendLabel, outcomeLabel)
	sessionsActive = desc("sessions_active",
		"Sessions that live, those that wait for a backend included.", frontendLabel)
	sessionsQueued = desc("sessions_queued",
		"Sessions that wait for a backend, by class of client.", frontendLabel, classLabel)
	sessionBytes = desc("session_bytes_total",
		"Bytes delivered to backends (up) and to clients (down) by sessions that have ended.", frontendLabel, directionLabel)
	sessionDuration = desc("session_duration_seconds",
		"Time from accept to the end of a session, of those that were let in.", frontendLabel)
	connectDuration = desc("session_connect_duration_seconds",
		"Time that successful attempts to connect to a backend took.", frontendLabel)
	queueDuration = desc("session_queue_duration_seconds",
		"Time in the queue, of the sessions that had to wait, those included that left in vain.", frontendLabel)
	probeDuration = desc("probe_duration_seconds",
		"Time that probes took that passed.", frontendLabel)
)

// By backend.
var (
	backendState = desc("backend_state",
		"1 for the state that the backend is in, 0 for the others.", frontendLabel, backendLabel, stateLabel)
	backendWeight = desc("backend_weight",
		"The weight that the strategy goes by: less than the configured one during a slow start.", frontendLabel, backendLabel)
	backendLimit = desc("backend_sessions_limit",
		"How many sessions the backend may have, configured or learned. +Inf: any number.", frontendLabel, backendLabel)
	backendActive = desc("backend_sessions_active",
		"Sessions that have a place at the backend, those that are still connecting included.", frontendLabel, backendLabel)
	backendElsewhere = desc("backend_sessions_elsewhere",
		"Sessions at the backend's address that count against its limit beside its own: of a backend that was removed, or of another process after an upgrade.", frontendLabel, backendLabel)
	backendEarlyEnds = desc("backend_early_ends_total",
		"Sessions that the backend ended before it had sent a byte to a client that had sent some, where early_end counts them.", frontendLabel, backendLabel)
	backendSessions = desc("backend_sessions_total",
		"Places given at the backend: one for each attempt to connect, retries included.", frontendLabel, backendLabel)
	backendFailures = desc("backend_connect_failures_total",
		"Attempts to connect to the backend that failed, by why.", frontendLabel, backendLabel, reasonLabel)
	backendProbes = desc("backend_probes_total",
		"Probes of the backend, by result. An inconclusive one failed for a want of our own.", frontendLabel, backendLabel, resultLabel)
)

// By backend, of the sessions that were looked at: see look.
var (
	tcpSessions = desc("backend_tcp_sampled_sessions",
		"Live sessions whose TCP connection to the backend was looked at in this scrape: the newest, a few hundred at most.",
		frontendLabel, backendLabel)
	tcpRoundTrip = desc("backend_tcp_round_trip_seconds",
		"Mean of the smoothed round-trip times to the backend, of the sampled sessions.", frontendLabel, backendLabel)
	tcpRetransmits = desc("backend_tcp_sampled_retransmits",
		"Segments that the sampled sessions have sent to the backend again, since each began.", frontendLabel, backendLabel)
)
