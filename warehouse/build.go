package warehouse

import (
	"context"
	"errors"
	"fmt"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/fault"
)

// Build brings the partials of the input's Building versions from their own S to the
// ends of Landed, in one transaction, and touches nothing else: what answers goes on
// answering. Landed may end before L, so that a long history is built in steps
// between which others write; a crash costs the step that was under way. It gives
// each version's S, by object.
func (w *Warehouse) Build(ctx context.Context, in Input) (map[string]event.Cut, error) {
	w.advancing.Lock()
	defer w.advancing.Unlock()
	if w.db == nil {
		return nil, errors.New("warehouse: closed")
	}
	conn, err := w.db.Connect()
	if err != nil {
		return nil, fmt.Errorf("warehouse: connect: %w", err)
	}
	defer conn.Close() // rolls an unfinished transaction back
	if err := conn.Exec(ctx, "BEGIN TRANSACTION"); err != nil {
		return nil, fmt.Errorf("warehouse: begin: %w", err)
	}
	a := advance{conn: conn, moved: map[string]bool{}, pieces: w.pieces}
	if a.marks, _, err = readMarks(ctx, conn); err != nil {
		return nil, fmt.Errorf("warehouse: %w", err)
	}
	s := map[string]event.Cut{}
	for _, p := range in.Building {
		if err := a.object(ctx, in, ViewObject(p), func(rows string, ranges []event.Range) (sizes, error) { return a.view(ctx, in, p, rows, ranges) }); err != nil {
			return nil, fmt.Errorf("warehouse: build view %s: %w", p.Name, err)
		}
		s[ViewObject(p)] = a.marks[ViewObject(p)]
	}
	if err := fault.Hit(fault.BeforeBatchCommit); err != nil {
		return nil, err
	}
	if err := conn.Exec(ctx, "COMMIT"); err != nil {
		return nil, fmt.Errorf("warehouse: commit: %w", err)
	}
	return s, fault.Hit(fault.AfterBatchCommit)
}
