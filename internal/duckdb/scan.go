package duckdb

/*
#include <stdint.h>
#include <stdlib.h>

// Callbacks of the table function, in Go below. See https://golang.org/issue/19837.
void tw_scan_bind(void *);
void tw_scan_init(void *);
void tw_scan_fill(void *, void *);
void tw_scan_drop(void *);
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime/cgo"
	"unsafe"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// The life of one scan. Bind runs when a statement is planned: it names the
// columns and leaves the relation's id with the engine, in C memory that the
// engine frees. Init runs when an execution begins: it takes what the handle holds
// at that moment and leaves a cgo.Handle to it. Fill runs until it gives no rows.
// Drop runs when the execution ends, however it does, and lets the batches go.
//
// A Go panic that leaves a C callback kills the process, so every callback
// recovers and hands the panic to the engine as an error of the statement.

// scanName is the table function's name. It is on no allow-list: relations are
// visible to all connections, and user SQL may not read them by number.
const scanName = "tw_scan"

// registerScan makes tw_scan known to the whole database.
func (c *Conn) registerScan() error {
	f := mapping.CreateTableFunction()
	defer mapping.DestroyTableFunction(&f)
	id := mapping.CreateLogicalType(mapping.TypeBigInt)
	defer mapping.DestroyLogicalType(&id)
	mapping.TableFunctionSetName(f, scanName)
	mapping.TableFunctionAddParameter(f, id)
	mapping.TableFunctionSetBind(f, C.tw_scan_bind)
	mapping.TableFunctionSetInit(f, C.tw_scan_init)
	mapping.TableFunctionSetFunction(f, C.tw_scan_fill)
	mapping.TableFunctionSupportsProjectionPushdown(f, true)
	if mapping.RegisterTableFunction(c.conn, f) == mapping.StateError {
		return errors.New("open database: DuckDB refused the table function " + scanName)
	}
	return nil
}

// number puts n where the engine can keep it; free or tw_scan_drop frees it.
func number(n uint64) unsafe.Pointer {
	p := C.malloc(8)
	*(*uint64)(p) = n
	return p
}

// caught turns a panic of a callback into an error.
func caught(setError func(string)) {
	if p := recover(); p != nil {
		setError(fmt.Sprintf("%s: panic: %v", scanName, p))
	}
}

//export tw_scan_bind
func tw_scan_bind(ptr unsafe.Pointer) {
	info := mapping.BindInfo{Ptr: ptr}
	fail := func(text string) { mapping.BindSetError(info, text) }
	defer caught(fail)

	v := mapping.BindGetParameter(info, 0)
	var id int64 // 0 is no relation, and neither is NULL, which has no number
	if !mapping.IsNullValue(v) {
		id = mapping.GetInt64(v)
	}
	mapping.DestroyValue(&v)
	h := lookup(id)
	if h == nil {
		fail(fmt.Sprintf("%s: there is no relation %d", scanName, id))
		return
	}
	for _, c := range h.columns {
		l, err := logicalType(c.Type)
		if err != nil {
			fail(fmt.Sprintf("%s: column %q: %v", scanName, c.Name, err))
			return
		}
		mapping.BindAddResultColumn(info, c.Name, l)
		mapping.DestroyLogicalType(&l)
	}
	// An estimate: a prepared statement is planned for what is there now and
	// reads what is there later. "Exact" would let the optimizer prune.
	mapping.BindSetCardinality(info, mapping.IdxT(max(1, rowsOf(*h.content.Load()))), false)
	mapping.BindSetBindData(info, number(uint64(id)), C.free)
}

func rowsOf(batches []Batch) int { return (&Relation{Batches: batches}).Len() }

//export tw_scan_init
func tw_scan_init(ptr unsafe.Pointer) {
	info := mapping.InitInfo{Ptr: ptr}
	fail := func(text string) { mapping.InitSetError(info, text) }
	defer caught(fail)

	id := *(*int64)(mapping.InitGetBindData(info))
	h := lookup(id)
	if h == nil {
		fail(fmt.Sprintf("%s: relation %d is closed", scanName, id))
		return
	}
	s := &scan{handle: h, batches: *h.content.Load()}
	for i := range int(mapping.InitGetColumnCount(info)) {
		// Beyond the columns there are the engine's own, which hold
		// nothing: count(*) asks for one.
		column := uint64(mapping.InitGetColumnIndex(info, mapping.IdxT(i)))
		if column < uint64(len(h.columns)) {
			s.wanted = append(s.wanted, wanted{from: int(column), to: i})
		}
	}
	mapping.InitSetMaxThreads(info, 1)
	mapping.InitSetInitData(info, number(uint64(cgo.NewHandle(s))), C.tw_scan_drop)
}

//export tw_scan_fill
func tw_scan_fill(ptr, out unsafe.Pointer) {
	info := mapping.FunctionInfo{Ptr: ptr}
	fail := func(text string) { mapping.FunctionSetError(info, text) }
	defer caught(fail)

	s := cgo.Handle(*(*uint64)(mapping.FunctionGetInitData(info))).Value().(*scan)
	chunk := mapping.DataChunk{Ptr: out}
	n, err := s.fill(chunk)
	if err != nil {
		fail(scanName + ": " + err.Error())
		return
	}
	mapping.DataChunkSetSize(chunk, mapping.IdxT(n))
}

//export tw_scan_drop
func tw_scan_drop(ptr unsafe.Pointer) {
	cgo.Handle(*(*uint64)(ptr)).Delete()
	C.free(ptr)
}
