package serving

import "time"

// A holding is a part of the engine's memory, and what its holder has computed since
// the sample before.
type holding struct {
	principal string  // empty for what is no query's
	share     float64 // bytes
	computed  time.Duration
	// grown is whether it has computed for long enough to hold much.
	grown    bool
	alone    float64       // how much it took while no other principal's that have grown computed
	aloneFor time.Duration // how long that was
}

// besides is the part of the computing up to which others do not count as computing
// beside a principal: those who begin to, or end, at the interval's edges.
const besides = 0.2

// attribute makes the shares add up to what the engine holds now; gone is what those
// held who have ended since the sample before.
//
// Memory is taken and given back by those who compute. So a rise goes to them, in
// proportion to the processor time that each has had; one that nobody computed goes to
// the first. A fall is taken from them in proportion to what they hold, and only then
// from the others. What those who ended seemed to hold, and is still there, was others'
// from the beginning: it goes to all in proportion to what they hold.
func attribute(total, gone float64, all []*holding) {
	var computed, grown time.Duration
	byPrincipal := map[string]time.Duration{} // of those that have grown
	var holds, active float64                 // of all, of those who computed
	for _, h := range all {
		computed += h.computed
		holds += h.share
		if h.grown {
			grown += h.computed
			byPrincipal[h.principal] += h.computed
		}
		if h.computed > 0 {
			active += h.share
		}
	}
	change := total - holds
	if wrong := min(gone, change); wrong > 0 && holds > 0 {
		for _, h := range all {
			h.share += wrong * h.share / holds
		}
		change -= wrong
	}
	if computed == 0 && change >= 0 {
		all[0].share += change
		return
	}
	if change < 0 {
		fromActive := min(-change, active)
		fromRest := min(-change-fromActive, holds-active)
		for _, h := range all {
			if h.computed > 0 && active > 0 {
				h.share = max(0, h.share-fromActive*h.share/active)
			} else if h.computed == 0 && holds > active {
				h.share = max(0, h.share-fromRest*h.share/(holds-active))
			}
		}
	}
	for _, h := range all {
		took := change
		if change > 0 {
			took = change * float64(h.computed) / float64(computed)
			h.share += took
		}
		if h.computed > 0 && float64(byPrincipal[h.principal]) >= (1-besides)*float64(grown) {
			h.alone = max(0, h.alone+took)
			h.aloneFor += h.computed
		}
	}
}

// acquit leaves one who was found to hold less with that much, and gives the rest to
// the others in proportion to what they hold; to the first if they hold nothing.
func acquit(h *holding, share float64, all []*holding) {
	moved := h.share - share
	h.share = share
	var others float64
	for _, o := range all {
		if o != h {
			others += o.share
		}
	}
	if others == 0 {
		all[0].share += moved
		return
	}
	for _, o := range all {
		if o != h {
			o.share += moved * o.share / others
		}
	}
}
