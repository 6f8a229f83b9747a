package lake

import (
	"context"
	"errors"
	"fmt"
)

// CommitID gives the txnId by which the commit of a version names itself; empty
// if another program wrote it, or if the table has no such version. Whoever
// keeps results made from a version compares it to know that the table is still
// the one that they were made from.
func (t *Table) CommitID(ctx context.Context, version int64) (string, error) {
	if s := t.Latest(); s != nil && s.Version == version {
		return s.CommitID, nil
	}
	actions, err := t.readCommit(ctx, version)
	if errors.Is(err, ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("lake table %s: %w", t.schema.Stream, err)
	}
	for _, a := range actions {
		if a.CommitInfo != nil {
			return a.CommitInfo.TxnID, nil
		}
	}
	return "", nil
}
