package duckdb

// void tw_within_call(void *, void *, void *); // in within.c
import "C"

import (
	"errors"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// withinName is a function of the engine, tw_within(work, most): true, or an
// error when the work of the rows that the engine computes in one go is more than
// most. The engine looks for an interrupt between such runs of up to 2,048 rows,
// not inside of them, so this is what keeps a statement stoppable. It is
// volatile: the planner may not compute it beforehand. On no allow-list. It is written
// in C: a guarded statement calls it for each vector, and would come into Go, where it
// needs one of the few processors that Go gives out, each time.
const withinName = "tw_within"

// TooMuchWork begins the message of the error, as within.c has it.
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
