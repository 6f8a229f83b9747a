package view

import (
	"errors"

	"github.com/tailwater/tailwater/internal/macro"
)

// expandMacros writes the definition's calls of macros out, in place: an aggregate in
// one is planned as any other, and the version changes when the macro does.
func (s session) expandMacros(def Definition, root node) error {
	err := def.Macros.Expand(s.ctx, s.conn, root)
	var wrong *macro.Error
	if errors.As(err, &wrong) {
		refused := def.errorAt(wrong.Offset, wrong.Hint, wrong.Message)
		refused.final = true
		return refused
	}
	return err
}
