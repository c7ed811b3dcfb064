// Package learn finds out how many sessions a backend can take, from how long its answers take.
//
// A [Limit] is pure: no I/O, no log, no clock, no lock and no goroutine. The pool that owns it shows it
// each [Sample] under the pool's lock and asks it for the limit. It never looks at a single backend's
// neighbours, and never leaves its bounds.
//
// # The gradient
//
// A backend that serves capacity sessions at a time has a latency that is flat up to there, its floor,
// and beyond it grows with the load, whether the surplus waits in a queue or all share the processors:
//
//	latency = floor · max(1, active/capacity)
//	gradient = floor/latency, so active · gradient = capacity
//
// One step therefore leads from any overload to the capacity, and below it the gradient is 1 and says
// nothing. So each step adds some headroom, as in Netflix's concurrency-limits (Gradient2Limit) and in
// Envoy's adaptive concurrency filter (gradient controller):
//
//	next = active · min(1, tolerance · gradient) + headroom
//
// Headroom and tolerance decide how far above the capacity the limit comes to rest. Envoy (1.25, √limit)
// rests at 16 where the capacity is 10, Netflix (1.5, 4) at 19. Here they are 1.035 and a twentieth of the
// limit, at least a half: next = limit at 1.035/0.95 = 1.09 of the capacity, and at 10 or 11 where it is
// 10. They cannot be much less. What the floor was measured too low, the gradient takes away with every
// step, and where headroom and tolerance do not give it back the limit slides down to nothing; a floor is
// known within 2.5 % or so. For the same reason the headroom is a share, not a root: errors are shares too.
//
// An example, capacity 100, floor 20 ms:
//
//	active  latency  gradient · 1.035   next
//	  160    32 ms        0.647         103.5 + 8   = 111.5
//	  111    22.2 ms      0.932         103.5 + 5.6 = 109
//	  109    21.8 ms      0.950         103.5 + 5.5 = 109    at rest
//	   60    20 ms        1              60   + 3   = 63     and so on: 5 % a window
//
// # The windows
//
// A step is taken once a window. What counts is the mean logarithm of the latencies, each cut at 7 floors
// and at a seventh: half the samples being slow shows in it in full, one in a hundred hardly. A window
// ends when that mean is known (standard error) within a third of the headroom, or 2.5 %, so that a backend whose answers
// all take the same time is judged by 16 sessions, and one of great spread by a few hundred; and not
// before three floors have passed, since the first to end are the short ones.
//
// The limit grows only if a quarter of the sessions of a window found it in use, that is nine tenths of it
// taken. A demand below the limit proves nothing about a higher one (Netflix: app limited). Every kind of
// sample that was ever seen must agree: that the kernel still accepts connections at once says little.
//
// In the beginning, and when it has grown by 40 % without a rise, the limit grows by a quarter, until two
// windows in a row show one: so the first overload is the greatest, about 1.4 of the capacity for two or
// three windows. Options.Max guards what cannot bear that.
//
// # The floor
//
// Netflix lets the floor follow a long moving average. Under a demand that never ends it drifts up with
// the latency that the headroom causes, and the limit after it. Envoy drops the limit to 3 now and then
// and takes what it measures there. In TCP, BBR drains its queue every 10 s for the same end. Here the floor
// goes by evidence. The latency with less load is the better floor, so:
//
//   - Whatever is measured with less than half the limit in use becomes the floor, by halves. So it
//     does at Options.Min, where there is no less.
//   - A latency clearly below the floor lowers it, by halves.
//   - If a shrinking limit has taken away a fifth of the load twice, and the latency did not follow, the
//     load was not to blame: a slower network, or heavier work. The floor rises, and the limit returns.
//   - Where none of this happens for Options.Recheck (sooner while the floor is in doubt), a probe takes a quarter of the limit away for a
//     window. A quarter costs little, and is enough: the limit at rest is 1.09 of the
//     capacity, three quarters of that are safely below. Should the latency fall in proportion, it was not, and
//     the probe goes deeper. No probe where sessions last so long that it would hold up clients
//     for more than two seconds.
//
// A backend whose latency grows with every session, without a knee, comes to rest where a quarter less
// load would gain about 5 % of latency.
//
// Start with limit.go (Observe), then adjust.go.
//
// Sources: github.com/Netflix/concurrency-limits, Gradient2Limit and WindowedLimit;
// github.com/envoyproxy/envoy, adaptive_concurrency/controller/gradient_controller.cc; Cardwell et al.,
// BBR: Congestion-Based Congestion Control, ACM Queue 14(5), 2016.
package learn
