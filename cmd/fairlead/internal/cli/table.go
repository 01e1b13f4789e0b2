package cli

import (
	"strings"
	"unicode/utf8"
)

// table is aligned columns.
type table struct {
	columns []column
	rows    [][]cell
	// notes are lines below rows, by the row's index.
	notes  map[int][]line
	indent string
	// keepEmpty shows columns that hold nothing too.
	keepEmpty bool
}

type column struct {
	title string
	right bool // aligned to the right, for numbers
}

// cell is a text in a style.
type cell struct {
	text  string
	style style
}

// newTable makes a table; a title that begins with > is of numbers.
func newTable(titles ...string) *table {
	t := &table{}
	for _, title := range titles {
		text, right := strings.CutPrefix(title, ">")
		t.columns = append(t.columns, column{text, right})
	}
	return t
}

// row adds a row of strings and cells. The text is made safe to print.
func (t *table) row(values ...any) {
	row := make([]cell, len(t.columns))
	for i, v := range values {
		switch v := v.(type) {
		case cell:
			row[i] = v
		case string:
			row[i].text = v
		}
		row[i].text = clean(row[i].text)
	}
	t.rows = append(t.rows, row)
}

// below adds lines below the last row.
func (t *table) below(lines []line) {
	if len(lines) == 0 {
		return
	}
	if t.notes == nil {
		t.notes = map[int][]line{}
	}
	t.notes[len(t.rows)-1] = lines
}

// print writes the table. Columns that are empty in every row are left out.
func (t *table) print(p *printer) {
	var show []int
	width := make([]int, len(t.columns))
	for i, c := range t.columns {
		width[i] = utf8.RuneCountInString(c.title)
		used := false
		for _, row := range t.rows {
			used = used || row[i].text != ""
			width[i] = max(width[i], utf8.RuneCountInString(row[i].text))
		}
		if used || t.keepEmpty {
			show = append(show, i)
		}
	}
	put := func(cells []cell) {
		var b strings.Builder
		b.WriteString(t.indent)
		for n, i := range show {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cells[i].text))
			text := p.paint(cells[i].style, cells[i].text)
			if t.columns[i].right {
				b.WriteString(pad + text)
			} else {
				b.WriteString(text + pad)
			}
			if n < len(show)-1 {
				b.WriteString("  ")
			}
		}
		p.WriteString(strings.TrimRight(b.String(), " ") + "\n")
	}
	titles := make([]cell, len(t.columns))
	for i, c := range t.columns {
		titles[i] = cell{c.title, bold}
	}
	put(titles)
	for i, row := range t.rows {
		put(row)
		for _, note := range t.notes[i] {
			p.linef(note.style, "%s    %s", t.indent, note.text)
		}
	}
}
