package report

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Table is a text table. Columns whose heading starts with ">" are aligned right.
type Table struct {
	heads []string
	right []bool
	rows  [][]string
}

// NewTable starts a table with these headings.
func NewTable(heads ...string) *Table {
	t := &Table{}
	for _, h := range heads {
		t.heads = append(t.heads, strings.TrimPrefix(h, ">"))
		t.right = append(t.right, strings.HasPrefix(h, ">"))
	}
	return t
}

// Row adds a line; missing cells are empty. Control characters in cells are written as escapes, since names come
// from files.
func (t *Table) Row(cells ...string) {
	for i, c := range cells {
		cells[i] = Printable(c)
	}
	t.rows = append(t.rows, cells)
}

// Printable returns text with escapes, as in a Go string, for characters that a terminal would not show as they are.
func Printable(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return !strconv.IsPrint(r) || r == utf8.RuneError }) < 0 {
		return text
	}
	quoted := strconv.Quote(text)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// Write prints the table with two spaces between columns and none at line ends.
func (t *Table) Write(w io.Writer) error {
	width := make([]int, len(t.heads))
	lines := append([][]string{t.heads}, t.rows...)
	for _, row := range lines {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	for _, row := range lines {
		var line strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i > 0 {
				line.WriteString("  ")
			}
			if t.right[i] {
				line.WriteString(pad + c)
			} else {
				line.WriteString(c + pad)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Count writes an integer with commas between thousands.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// Percent writes a fraction as a percentage with two decimals.
func Percent(f float64) string { return strconv.FormatFloat(100*f, 'f', 2, 64) + " %" }

// Loss writes a loss with four decimals, one that is small with three digits.
func Loss(x float64) string {
	if x != 0 && math.Abs(x) < 0.01 {
		return strconv.FormatFloat(x, 'g', 3, 64)
	}
	return strconv.FormatFloat(x, 'f', 4, 64)
}

// MACs writes multiply-adds, "?" where they are not known.
func MACs(n *int64) string {
	if n == nil {
		return "?"
	}
	return Count(*n)
}

// Write prints the comparison for people: the model as read, under the magnitude mask
// before any training, and as written.
func (r *Run) Write(w io.Writer) error {
	heads := []string{"", ">params", ">nonzero", ">sparsity", ">MACs"}
	scored := r.Dense.Score != nil
	classes := scored && r.Dense.Score.Top1 != nil
	if classes {
		heads = append(heads, ">top-1")
	}
	if scored {
		heads = append(heads, ">loss")
	}
	t := NewTable(heads...)
	row := func(name string, s *Stage) {
		cells := []string{name, Count(s.Params), Count(s.Nonzero), Percent(s.Sparsity), MACs(s.MACs)}
		if classes && s.Score != nil && s.Score.Top1 != nil {
			cells = append(cells, Percent(*s.Score.Top1))
		}
		if scored && s.Score != nil {
			cells = append(cells, Loss(float64(s.Score.Loss)))
		}
		t.Row(cells...)
	}
	row("dense", &r.Dense)
	final := r.Settings.Method
	if r.Settings.Importance != "" && r.Magnitude == nil {
		final = r.Settings.Importance
	}
	if r.Magnitude != nil {
		untrained := cmp.Or(r.Settings.Ranking, "magnitude") + ", untrained"
		if r.Settings.Importance != "" {
			untrained = r.Settings.Importance + ", untrained"
		}
		row(untrained, r.Magnitude)
		final = fmt.Sprintf("%s, epoch %d", final, r.ExportedEpoch)
	}
	row(final, &r.Final)
	return t.Write(w)
}

// WriteWidths prints what became of the layers where channels were removed.
func (r *Run) WriteWidths(w io.Writer) error {
	t := NewTable("layer", ">shape", ">params", ">MACs")
	for _, l := range r.Layers {
		if len(l.NewShape) == 0 {
			continue
		}
		macs := MACs(l.MACs)
		if l.NewMACs != nil {
			macs += " → " + Count(*l.NewMACs)
		}
		t.Row(l.Name, fmt.Sprintf("%s → %s", widths(l.Shape), widths(l.NewShape)), Count(l.Params)+" → "+Count(l.NewParams), macs)
	}
	return t.Write(w)
}

// widths writes the first two axes of a shape.
func widths(shape []int) string {
	s := make([]string, 0, 2)
	for _, d := range shape[:min(2, len(shape))] {
		s = append(s, strconv.Itoa(d))
	}
	return strings.Join(s, "×")
}
