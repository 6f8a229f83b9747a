// Package layers holds the cases of conformance against the parts of a whole server:
// log, tap, speed layer, lake, batch runs into a warehouse file and serving, with
// landings, crashes, rebuilds and redefinitions at random between the comparisons. It
// has tests only; this floor may know all rooms.
package layers
