// Package stream keeps the durable log of a stream and reads it back in order.
//
//	Publisher ──Append──▶ Log (JetStream or memory)
//	    │                    │
//	    └──Handoff──▶ Tap ◀──┘ Subscribe, when a block was not handed over
//	                   │ decodes once, deduplicates, draws seals
//	                   ├──▶ Applier (speed)
//	                   └──▶ Applier (lander)
//
// A Publisher merges requests into envelopes and answers when they are on
// disk. A Tap delivers every message after its start exactly once and in order, as an
// event.Block. Resolve decides at start, before either runs, whether the log
// is still the one that the lake was filled from.
//
// Three things are pure functions of the log's order, so that a restart decides
// as the first run did: log time (the running maximum of the envelopes'
// stamps), deduplication, and the position of every event.
//
// On a crash nothing of this package is lost but the unanswered requests: the
// log is fsynced before a request is answered, and all other state is rebuilt
// from the log and the lake.
package stream
