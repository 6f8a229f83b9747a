package duckdb

/*
void tw_within_call(void *, void *, void *);
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// withinName is a function of the engine, tw_within(work, most): true, or an
// error when the work of the rows that the engine computes in one go is more than
// most. The engine looks for an interrupt between such runs of up to 2,048 rows,
// not inside of them, so this is what keeps a statement stoppable. It is
// volatile: the planner may not compute it beforehand. On no allow-list.
const withinName = "tw_within"

// TooMuchWork begins the message of the error.
const TooMuchWork = "too much work in one step"

func (c *Conn) registerWithin() error {
	f := mapping.CreateScalarFunction()
	defer mapping.DestroyScalarFunction(&f)
	number := mapping.CreateLogicalType(mapping.TypeDouble)
	defer mapping.DestroyLogicalType(&number)
	boolean := mapping.CreateLogicalType(mapping.TypeBoolean)
	defer mapping.DestroyLogicalType(&boolean)
	mapping.ScalarFunctionSetName(f, withinName)
	mapping.ScalarFunctionAddParameter(f, number)
	mapping.ScalarFunctionAddParameter(f, number)
	mapping.ScalarFunctionSetReturnType(f, boolean)
	mapping.ScalarFunctionSetVolatile(f)
	mapping.ScalarFunctionSetFunction(f, C.tw_within_call)
	if mapping.RegisterScalarFunction(c.conn, f) == mapping.StateError {
		return errors.New("open database: DuckDB refused the function " + withinName)
	}
	return nil
}

//export tw_within_call
func tw_within_call(ptr, in, out unsafe.Pointer) {
	info := mapping.FunctionInfo{Ptr: ptr}
	fail := func(text string) { mapping.ScalarFunctionSetError(info, text) }
	defer caught(fail)

	chunk := mapping.DataChunk{Ptr: in}
	n := int(mapping.DataChunkGetSize(chunk))
	if n == 0 {
		return
	}
	work, most := doublesOf(chunk, 0, n), doublesOf(chunk, 1, n)
	valid := mapping.VectorGetValidity(mapping.DataChunkGetVector(chunk, 0))
	sum := 0.0
	for i, w := range work {
		if valid == nil || mapping.ValidityRowIsValid(valid, mapping.IdxT(i)) {
			sum += w
		}
	}
	if !(sum <= most[0]) { // NaN is too much
		fail(fmt.Sprintf("%s: %.0f units, %.0f are allowed", TooMuchWork, sum, most[0]))
		return
	}
	answers := unsafe.Slice((*bool)(mapping.VectorGetData(mapping.Vector{Ptr: out})), n)
	for i := range answers {
		answers[i] = true
	}
}

// doublesOf gives a column of doubles of the chunk, which the engine owns.
func doublesOf(chunk mapping.DataChunk, column, rows int) []float64 {
	v := mapping.DataChunkGetVector(chunk, mapping.IdxT(column))
	return unsafe.Slice((*float64)(mapping.VectorGetData(v)), rows)
}
