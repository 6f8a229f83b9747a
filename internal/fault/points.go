package fault

// A Point is a place at which a failure is worth a test.
type Point string

// The points, in the order in which one event meets them.
const (
	LogAckLost         Point = "log-ack-lost"         // the log has the message, its answer is lost on the way to the publisher
	AfterLogAck        Point = "after-log-ack"        // the log has the message, the client has no answer
	MidMicroBatch      Point = "mid-micro-batch"      // some views of a block are computed, no State is published
	AfterParquetPut    Point = "after-parquet-put"    // data files stored, no commit refers to them
	BeforeCommitPut    Point = "before-commit-put"    // the commit's bytes are ready
	CommitResponseLost Point = "commit-response-lost" // the commit is stored, the store's answer is lost
	AfterCommitPut     Point = "after-commit-put"     // the commit is stored and known, nothing else knows
	BeforeBatchCommit  Point = "before-batch-commit"  // warehouse transaction ready
	AfterBatchCommit   Point = "after-batch-commit"   // warehouse transaction committed, nothing else knows
)

// Points lists all of them.
var Points = []Point{LogAckLost, AfterLogAck, MidMicroBatch, AfterParquetPut, BeforeCommitPut, CommitResponseLost, AfterCommitPut, BeforeBatchCommit, AfterBatchCommit}
