// Package page writes results as HTML pages: one file each, with its plots inside, that
// opens from disk, makes no request, prints, and follows the reader's choice of light or
// dark. Equal results give equal bytes.
package page

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxprune/onnxprune/report"
)

//go:embed style.css
var style string

//go:embed sweep.html
var sweepText string

//go:embed run.html
var runText string

var functions = template.FuncMap{
	"percent": report.Percent,
	"count":   report.Count,
	"style":   func() template.CSS { return template.CSS(style) },
	"seconds": func(s float64) string { return number(s, 1) },
	"fixed":   number,
	"swatch":  sample,
	"macs":    report.MACs,
}

var (
	sweepPage = template.Must(template.New("sweep").Funcs(functions).Parse(sweepText))
	runPage   = template.Must(template.New("run").Funcs(functions).Parse(runText))
)

// number writes v with that many decimals.
func number(v float64, decimals int) string {
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	if strings.Trim(s, "-0.") == "" {
		return strings.TrimPrefix(s, "-")
	}
	return s
}

// methods have a colour each, the same on every page.
var methods = []string{"bip", "imp", "omp", "omp-equal-passes", "hydra", "snip", "grasp", "synflow", "random"}

// colourOf is that of a method.
func colourOf(method string) int {
	if at := slices.Index(methods, method); at >= 0 {
		return at
	}
	sum := 0
	for _, c := range method {
		sum += int(c)
	}
	return sum % seriesColours
}

// write runs a template.
func write(w io.Writer, t *template.Template, data any) error {
	if err := t.Execute(w, data); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

// layerTicks numbers layers from 1, at most about twenty of them.
func layerTicks(n int) []tick {
	every := 1
	for n/every > 24 {
		every = map[byte]int{'1': every * 2, '2': every * 5 / 2, '5': every * 2}[strconv.Itoa(every)[0]]
	}
	var out []tick
	for i := 1; i <= n; i++ {
		if i == 1 || i%every == 0 {
			out = append(out, tick{float64(i), strconv.Itoa(i)})
		}
	}
	return out
}

// plural writes a number with its noun.
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return report.Count(int64(n)) + " " + one + "s"
}

// list joins words as people do.
func list(words []string) string {
	switch len(words) {
	case 0:
		return ""
	case 1:
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
