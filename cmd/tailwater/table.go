package main

import (
	"bufio"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// cellRunesMax is how much of a value a table shows; the other formats show all.
const cellRunesMax = 120

// cellText gives a JSON value as a table shows it: strings bare, the rest as JSON.
func cellText(raw json.RawMessage) string {
	var text string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return "NULL"
	case raw[0] == '"' && json.Unmarshal(raw, &text) == nil:
	default:
		text = string(raw)
	}
	text = printable(text)
	if utf8.RuneCountInString(text) > cellRunesMax {
		text = string([]rune(text)[:cellRunesMax-1]) + "…"
	}
	return text
}

// printable keeps text from outside from commanding the terminal: control
// characters are shown as escapes.
func printable(text string) string {
	if strings.IndexFunc(text, isControl) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if isControl(r) {
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// isControl reports control and format characters, which turn directions too.
func isControl(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }

// writeTable aligns rows under their header; right aligns a column's values right.
func writeTable(out io.Writer, header []string, right []bool, rows [][]string) error {
	widths := make([]int, len(header))
	for i, h := range header {
		header[i] = printable(h)
		widths[i] = utf8.RuneCountInString(header[i])
	}
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	w := bufio.NewWriter(out)
	line := func(cells []string) {
		var b strings.Builder
		for i, c := range cells {
			if i > 0 {
				b.WriteString("  ")
			}
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			if right[i] {
				b.WriteString(pad + c)
			} else {
				b.WriteString(c + pad)
			}
		}
		w.WriteString(strings.TrimRight(b.String(), " ") + "\n")
	}
	line(header)
	rule := make([]string, len(header))
	for i, n := range widths {
		rule[i] = strings.Repeat("─", n)
	}
	line(rule)
	for _, row := range rows {
		line(row)
	}
	return w.Flush()
}
