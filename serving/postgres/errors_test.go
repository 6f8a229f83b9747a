package postgres

import (
	"fmt"
	"testing"

	"github.com/tailwater/tailwater/serving"
)

func TestAKeysLimitOfMemoryIsTold(t *testing.T) {
	err := fmt.Errorf("%w: key narrow may hold 100 MB", serving.ErrKeyMemory)
	if e, known := toWire(err); !known || e.code != "53200" || e.message != err.Error() || e.hint != serving.KeyMemoryHint {
		t.Errorf("%+v", e)
	}
	if e, _ := toWire(serving.ErrMemory); e.code != "53200" || e.hint == serving.KeyMemoryHint {
		t.Errorf("the engine's own limit: %+v", e)
	}
}
