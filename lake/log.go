package lake

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/tailwater/tailwater/event"
)

// The actions of the Delta transaction log, as the protocol names them
// (github.com/delta-io/delta, PROTOCOL.md, "Actions"). A commit is a file of
// one action a line; a checkpoint is a Parquet file of one action a row. The
// tags serve both. Times are ms since 1970.

type action struct {
	Protocol   *protocol   `json:"protocol,omitempty" parquet:"protocol,optional"`
	MetaData   *metaData   `json:"metaData,omitempty" parquet:"metaData,optional"`
	Txn        *txn        `json:"txn,omitempty" parquet:"txn,optional"`
	Add        *add        `json:"add,omitempty" parquet:"add,optional"`
	Remove     *remove     `json:"remove,omitempty" parquet:"remove,optional"`
	CommitInfo *commitInfo `json:"commitInfo,omitempty" parquet:"-"`
}

type protocol struct {
	MinReaderVersion int32 `json:"minReaderVersion" parquet:"minReaderVersion"`
	MinWriterVersion int32 `json:"minWriterVersion" parquet:"minWriterVersion"`
}

// metaData has no optional part left out: some readers want format.options,
// partitionColumns and configuration even when they are empty.
type metaData struct {
	ID               string            `json:"id" parquet:"id"`
	Name             string            `json:"name,omitempty" parquet:"name,optional"`
	Format           format            `json:"format" parquet:"format"`
	SchemaString     string            `json:"schemaString" parquet:"schemaString"`
	PartitionColumns []string          `json:"partitionColumns" parquet:"partitionColumns,list"`
	Configuration    map[string]string `json:"configuration" parquet:"configuration"`
	CreatedTime      int64             `json:"createdTime,omitempty" parquet:"createdTime,optional"`
}

type format struct {
	Provider string            `json:"provider" parquet:"provider"`
	Options  map[string]string `json:"options" parquet:"options"`
}

type txn struct {
	AppID       string `json:"appId" parquet:"appId"`
	Version     int64  `json:"version" parquet:"version"`
	LastUpdated int64  `json:"lastUpdated,omitempty" parquet:"lastUpdated,optional"`
}

type add struct {
	Path             string            `json:"path" parquet:"path"` // URL-encoded
	PartitionValues  map[string]string `json:"partitionValues" parquet:"partitionValues"`
	Size             int64             `json:"size" parquet:"size"` // bytes
	ModificationTime int64             `json:"modificationTime" parquet:"modificationTime"`
	DataChange       bool              `json:"dataChange" parquet:"dataChange"`
	Stats            string            `json:"stats,omitempty" parquet:"stats,optional"` // JSON of fileStats
}

type remove struct {
	Path              string `json:"path" parquet:"path"`
	DeletionTimestamp int64  `json:"deletionTimestamp,omitempty" parquet:"deletionTimestamp,optional"`
	DataChange        bool   `json:"dataChange" parquet:"dataChange"`
}

// commitInfo is free text to the protocol. TxnID and Tailwater are ours: by the
// first a committer recognises its own commit, in the second the latest commit
// alone tells every mark of the table.
type commitInfo struct {
	Timestamp           int64            `json:"timestamp"`
	Operation           string           `json:"operation"`
	OperationParameters map[string]any   `json:"operationParameters,omitempty"`
	EngineInfo          string           `json:"engineInfo,omitempty"`
	TxnID               string           `json:"txnId,omitempty"`
	IsBlindAppend       bool             `json:"isBlindAppend"`
	Tailwater           *commitTailwater `json:"tailwater,omitempty"`
}

type commitTailwater struct {
	Sources map[string]Mark `json:"sources"` // by event.Source.String
}

// engineInfo names the writer in every commit.
const engineInfo = "tailwater"

const logDir = "_delta_log/"

// commitKey is the key of a version's commit, below the table's root.
func commitKey(version int64) string { return fmt.Sprintf("%s%020d.json", logDir, version) }

// checkpointKey is the key of a version's single-file checkpoint.
func checkpointKey(version int64) string {
	return fmt.Sprintf("%s%020d.checkpoint.parquet", logDir, version)
}

// logVersion reads a name of the log directory; kind is what follows the
// version, such as ".json".
func logVersion(name string) (version int64, kind string, ok bool) {
	const digits = 20
	if len(name) <= digits {
		return 0, "", false
	}
	version, err := strconv.ParseInt(name[:digits], 10, 64)
	return version, name[digits:], err == nil && version >= 0
}

func encodeActions(actions []action) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	for _, a := range actions {
		if err := enc.Encode(a); err != nil {
			return nil, fmt.Errorf("encode action: %w", err)
		}
	}
	return out.Bytes(), nil
}

// decodeActions reads a commit. An action that is unknown is an empty one: the
// protocol lets a reader of version 1 skip it.
func decodeActions(data []byte) ([]action, error) {
	var out []action
	r := bufio.NewReader(bytes.NewReader(data))
	for line := 1; ; line++ {
		text, err := r.ReadBytes('\n')
		if len(bytes.TrimSpace(text)) > 0 {
			var a action
			if err := json.Unmarshal(text, &a); err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
			out = append(out, a)
		}
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// filePath decodes the path of an add or a remove.
func filePath(encoded string) (string, error) {
	path, err := url.PathUnescape(encoded)
	if err != nil {
		return "", fmt.Errorf("path %q: %w", encoded, err)
	}
	if strings.Contains(path, "://") || strings.HasPrefix(path, "/") || strings.Contains(path, "..") {
		return "", fmt.Errorf("path %q leads out of the table; shallow clones are not supported", encoded)
	}
	return path, nil
}

// appID is the txn id of a source in a table.
func appID(tableID string, src event.Source) string {
	return "tailwater/" + tableID + "/" + src.String()
}

// parseSource reads what event.Source.String wrote.
func parseSource(text string) (event.Source, error) {
	p, err := event.ParsePosition(text + "/0")
	if err != nil {
		return event.Source{}, fmt.Errorf("source %q: want stream/epoch/partition", text)
	}
	return p.Source, nil
}
