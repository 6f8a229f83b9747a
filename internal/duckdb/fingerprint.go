package duckdb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// canary are values of each class for which hash() has code of its own.
// Approximate distinct counts store hashes, so partials of two engines that
// hash differently must never be merged. Append to it and every fingerprint
// changes.
const canary = `SELECT concat_ws(' ',
	hash(true), hash(1::TINYINT), hash(-1::BIGINT), hash(1::HUGEINT << 90), hash(0.5::FLOAT), hash('-0'::DOUBLE),
	hash('nan'::DOUBLE), hash(12.34::DECIMAL(4,2)), hash(12.34::DECIMAL(38,2)), hash(''), hash('twelve bytes'),
	hash('thirteen byte'), hash('größer als zwölf Zeichen'), hash('{"a": 1}'::JSON), hash('\x00\xFF'::BLOB),
	hash(DATE '2000-02-29'), hash(TIMESTAMP '2000-02-29 01:02:03.000004'), hash(NULL::BIGINT), hash(NULL::VARCHAR),
	hash(1, 'a'), hash('a', NULL, 1.5::DOUBLE))`

// EngineFingerprint identifies the engine by what partials depend on: its exact
// version, and 16 hexadecimal digits over a sample of its hash values.
func (c *Conn) EngineFingerprint(ctx context.Context) (string, error) {
	r, err := c.Collect(ctx, canary)
	if err != nil {
		return "", fmt.Errorf("engine fingerprint: %w", err)
	}
	sum := sha256.Sum256([]byte(r.Value(0, 0).(string)))
	return mapping.LibraryVersion() + "/" + hex.EncodeToString(sum[:8]), nil
}
