package page

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"regexp"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A plot is drawn in colours that stand for roles: a role is a colour #0000RR that
// nothing else has, and becomes a variable of the page's style, which has a value
// for light, dark and print.
const (
	roleInk  = 0xA0 // text and axes
	roleGrid = 0xA1
	roleLine = 0xA2 // the dense model
	roleBack = 0xA3
	roleOf   = 0xB0 // the first series
)

// seriesColours is how many the style has.
const seriesColours = 9

func role(r int) color.Color { return color.NRGBA{B: uint8(r), A: 255} }

func roleName(r int) string {
	switch r {
	case roleInk:
		return "ink"
	case roleGrid:
		return "grid"
	case roleLine:
		return "dense"
	case roleBack:
		return "back"
	}
	return fmt.Sprintf("s%d", r-roleOf)
}

// point of a series; Low and High are its spread, both Y where there is none.
type point struct{ X, Y, Low, High float64 }

// series is a line, or marks, of one colour.
type series struct {
	// Of counts colours, dashes and marks from 0.
	Of     int
	Points []point
	// Dots draws no line, Line no marks.
	Dots, Line bool
	// Hollow marks.
	Hollow bool
}

// column is a bar from Low to High between X and Right.
type column struct{ X, Right, Low, High float64 }

// tick is a labelled place on an axis.
type tick struct {
	At    float64
	Label string
}

// chart is a plot.
type chart struct {
	// Name is what the image shows, for who cannot see it.
	Name   string
	X, Y   string
	XTicks []tick
	YTicks []tick
	// XMin to YMax are the range shown; the zero value is that of the points.
	XMin, XMax, YMin, YMax float64
	Series                 []series
	// Columns stand behind the series, a list per colour.
	Columns [][]column
	// Level draws a line across, where it is a number; Marks are rings around points.
	Level float64
	Marks []point
	// Height in points, 0 for the usual.
	Height int
}

const (
	chartWidth  = 640
	chartHeight = 300
)

// dashes and glyphs tell series apart without colour.
var dashes = [][]vg.Length{nil, {7, 3}, {2, 2.5}, {8, 3, 2, 3}, {12, 4}, {4, 4}, {1, 3}, {10, 3, 2, 3, 2, 3}, {5, 2}}

var glyphs = []draw.GlyphDrawer{polygon{24, 0, 1}, polygon{4, 45, 1.25}, polygon{3, 90, 1.4}, polygon{4, 0, 1.4}, polygon{3, -90, 1.4}, star{4, 0}, polygon{6, 0, 1.15}, star{5, 90}, polygon{5, -90, 1.2}}

// polygon is a filled mark of n corners, the first at that many degrees.
type polygon struct {
	n              int
	degrees, scale float64
}

// DrawGlyph implements [draw.GlyphDrawer].
func (g polygon) DrawGlyph(c *draw.Canvas, sty draw.GlyphStyle, pt vg.Point) {
	corners(c, sty.Color, pt, g.n, g.degrees, func(int) float64 { return float64(sty.Radius) * g.scale })
}

// star has n points.
type star struct {
	n       int
	degrees float64
}

// DrawGlyph implements [draw.GlyphDrawer].
func (g star) DrawGlyph(c *draw.Canvas, sty draw.GlyphStyle, pt vg.Point) {
	corners(c, sty.Color, pt, 2*g.n, g.degrees, func(i int) float64 { return float64(sty.Radius) * []float64{1.7, 0.7}[i%2] })
}

// corners fills a shape around pt.
func corners(c *draw.Canvas, paint color.Color, pt vg.Point, n int, degrees float64, radius func(i int) float64) {
	var p vg.Path
	for i := range n {
		angle := (degrees + 360*float64(i)/float64(n)) * math.Pi / 180
		r := radius(i)
		q := vg.Point{X: pt.X + vg.Length(r*math.Cos(angle)), Y: pt.Y + vg.Length(r*math.Sin(angle))}
		if i == 0 {
			p.Move(q)
		} else {
			p.Line(q)
		}
	}
	p.Close()
	c.SetColor(paint)
	c.Fill(p)
}

// ring is a circle around a mark.
type ring struct{ width vg.Length }

// DrawGlyph implements [draw.GlyphDrawer].
func (g ring) DrawGlyph(c *draw.Canvas, sty draw.GlyphStyle, pt vg.Point) {
	c.SetLineStyle(draw.LineStyle{Color: sty.Color, Width: g.width})
	var p vg.Path
	p.Move(vg.Point{X: pt.X + sty.Radius, Y: pt.Y})
	p.Arc(pt, sty.Radius, 0, 2*math.Pi)
	p.Close()
	c.Stroke(p)
}

// draw returns the chart as SVG to stand in the page.
func (c *chart) draw() (template.HTML, error) {
	p := plot.New()
	p.BackgroundColor = nil
	style := func(s *text.Style, size vg.Length) {
		s.Color = role(roleInk)
		s.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
	}
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		style(&a.Label.TextStyle, 11)
		style(&a.Tick.Label, 10)
		a.LineStyle.Color, a.Tick.LineStyle.Color = role(roleInk), role(roleInk)
		a.LineStyle.Width, a.Tick.LineStyle.Width = 0.8, 0.8
	}
	p.X.Label.Text, p.Y.Label.Text = c.X, c.Y
	if c.XTicks != nil {
		p.X.Tick.Marker = ticks(c.XTicks)
	}
	p.Y.Tick.Marker = plainTicks{}
	if c.YTicks != nil {
		p.Y.Tick.Marker = ticks(c.YTicks)
	}
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = role(roleGrid), role(roleGrid)
	grid.Vertical.Width, grid.Horizontal.Width = 0.6, 0.6
	p.Add(grid)
	if err := c.add(p); err != nil {
		return "", err
	}
	if c.XMin < c.XMax {
		p.X.Min, p.X.Max = c.XMin, c.XMax
	}
	if c.YMin < c.YMax {
		p.Y.Min, p.Y.Max = c.YMin, c.YMax
	}
	height := c.Height
	if height == 0 {
		height = chartHeight
	}
	canvas := vgsvg.New(chartWidth, vg.Length(height))
	p.Draw(draw.New(canvas))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return "", fmt.Errorf("drawing %q: %w", c.Name, err)
	}
	return template.HTML(embed(b.String(), c.Name)), nil
}

// sample is a series' line and mark alone, for a legend.
func sample(of int) (template.HTML, error) {
	canvas := vgsvg.New(40, 12)
	d := draw.New(canvas)
	paint := role(roleOf + of%seriesColours)
	d.StrokeLine2(draw.LineStyle{Color: paint, Width: 1.6, Dashes: dashes[of%len(dashes)]}, 0, 6, 40, 6)
	d.DrawGlyph(draw.GlyphStyle{Color: paint, Radius: 3, Shape: glyphs[of%len(glyphs)]}, vg.Point{X: 20, Y: 6})
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return "", fmt.Errorf("drawing a legend: %w", err)
	}
	return template.HTML(strings.Replace(embed(b.String(), ""), `class="chart" role="img" aria-label=""`, `class="sample" aria-hidden="true"`, 1)), nil
}

// bars draws columns.
type bars struct {
	columns []column
	paint   color.Color
}

// Plot implements [plot.Plotter].
func (b bars) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	c.SetColor(b.paint)
	for _, q := range b.columns {
		if !(q.High > q.Low) {
			continue
		}
		var path vg.Path
		path.Move(vg.Point{X: x(q.X), Y: y(q.Low)})
		path.Line(vg.Point{X: x(q.Right), Y: y(q.Low)})
		path.Line(vg.Point{X: x(q.Right), Y: y(q.High)})
		path.Line(vg.Point{X: x(q.X), Y: y(q.High)})
		path.Close()
		c.Fill(path)
	}
}

// DataRange implements [plot.DataRanger].
func (b bars) DataRange() (xmin, xmax, ymin, ymax float64) {
	xmin, xmax, ymin, ymax = math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, q := range b.columns {
		xmin, xmax, ymin, ymax = min(xmin, q.X), max(xmax, q.Right), min(ymin, q.Low), max(ymax, q.High)
	}
	return xmin, xmax, ymin, ymax
}

// add puts the series onto the plot.
func (c *chart) add(p *plot.Plot) error {
	for i, columns := range c.Columns {
		if len(columns) > 0 {
			p.Add(bars{columns, role(roleOf + i)})
		}
	}
	if !math.IsNaN(c.Level) {
		line := &plotter.Line{XYs: plotter.XYs{{X: c.left(), Y: c.Level}, {X: c.right(), Y: c.Level}}}
		line.LineStyle = draw.LineStyle{Color: role(roleLine), Width: 1.2, Dashes: []vg.Length{5, 3}}
		p.Add(line)
	}
	for i := range c.Series {
		s := &c.Series[i]
		paint := role(roleOf + s.Of%seriesColours)
		var xys, path plotter.XYs
		errors := struct {
			plotter.XYs
			plotter.YErrors
		}{}
		for k, q := range s.Points {
			if k > 0 {
				path = append(path, c.crossing(s.Points[k-1], q)...)
			}
			if !c.shows(q) {
				continue
			}
			path = append(path, plotter.XY{X: q.X, Y: q.Y})
			xys = append(xys, plotter.XY{X: q.X, Y: q.Y})
			if q.Low < q.High {
				errors.XYs = append(errors.XYs, plotter.XY{X: q.X, Y: q.Y})
				errors.YErrors = append(errors.YErrors, struct{ Low, High float64 }{q.Y - q.Low, q.High - q.Y})
			}
		}
		if len(xys) == 0 && len(path) == 0 {
			continue
		}
		if len(errors.XYs) > 0 {
			bars, err := plotter.NewYErrorBars(errors)
			if err != nil {
				return err
			}
			bars.LineStyle = draw.LineStyle{Color: paint, Width: 1}
			bars.CapWidth = 5
			p.Add(bars)
		}
		if !s.Dots && len(path) > 0 {
			line := &plotter.Line{XYs: path}
			line.LineStyle = draw.LineStyle{Color: paint, Width: 1.6, Dashes: dashes[s.Of%len(dashes)]}
			p.Add(line)
		}
		if !s.Line && len(xys) > 0 {
			dots := &plotter.Scatter{XYs: xys}
			dots.GlyphStyle = draw.GlyphStyle{Color: paint, Radius: 3, Shape: glyphs[s.Of%len(glyphs)]}
			if s.Hollow {
				dots.GlyphStyle.Shape = ring{1.2}
			}
			p.Add(dots)
		}
	}
	if len(c.Marks) > 0 {
		rings := &plotter.Scatter{}
		for _, q := range c.Marks {
			rings.XYs = append(rings.XYs, plotter.XY{X: q.X, Y: q.Y})
		}
		rings.GlyphStyle = draw.GlyphStyle{Color: role(roleInk), Radius: 7, Shape: ring{1.2}}
		p.Add(rings)
	}
	return nil
}

// crossing is where the line between two points leaves or enters the range shown.
func (c *chart) crossing(a, b point) plotter.XYs {
	if c.shows(a) == c.shows(b) || math.IsNaN(a.Y) || math.IsNaN(b.Y) || math.IsInf(a.Y-b.Y, 0) {
		return nil
	}
	edge := c.YMin
	if max(a.Y, b.Y) > c.YMax {
		edge = c.YMax
	}
	f := (edge - a.Y) / (b.Y - a.Y)
	return plotter.XYs{{X: a.X + f*(b.X-a.X), Y: edge}}
}

// shows reports whether a point lies within the range shown.
func (c *chart) shows(q point) bool {
	if math.IsNaN(q.Y) || math.IsInf(q.Y, 0) {
		return false
	}
	return !(c.YMin < c.YMax) || q.Y >= c.YMin && q.Y <= c.YMax
}

func (c *chart) left() float64 {
	if c.XMin < c.XMax {
		return c.XMin
	}
	x := math.Inf(1)
	for _, s := range c.Series {
		for _, q := range s.Points {
			x = min(x, q.X)
		}
	}
	return x
}

func (c *chart) right() float64 {
	if c.XMin < c.XMax {
		return c.XMax
	}
	x := math.Inf(-1)
	for _, s := range c.Series {
		for _, q := range s.Points {
			x = max(x, q.X)
		}
	}
	return x
}

type ticks []tick

// Ticks implements [plot.Ticker].
func (t ticks) Ticks(lo, hi float64) (out []plot.Tick) {
	for _, x := range t {
		if x.At >= lo-1e-9 && x.At <= hi+1e-9 {
			out = append(out, plot.Tick{Value: x.At, Label: x.Label})
		}
	}
	return out
}

// plainTicks are about five round numbers.
type plainTicks struct{}

// Ticks implements [plot.Ticker].
func (plainTicks) Ticks(lo, hi float64) (out []plot.Tick) {
	if !(hi > lo) {
		return nil
	}
	step := math.Pow(10, math.Floor(math.Log10((hi-lo)/4)))
	for _, f := range []float64{5, 2} {
		if (hi-lo)/(step*f) >= 3 {
			step *= f
			break
		}
	}
	decimals := max(0, -int(math.Floor(math.Log10(step)+1e-9)))
	for k := math.Ceil(lo/step - 1e-9); k*step <= hi+1e-9*step; k++ {
		out = append(out, plot.Tick{Value: k * step, Label: number(k*step, decimals)})
	}
	return out
}

var (
	xmlHead    = regexp.MustCompile(`(?s)^.*?<svg[^>]*viewBox="([^"]*)"[^>]*>`)
	paintOf    = regexp.MustCompile(`#0000([0-9A-Fa-f]{2})`)
	fontFamily = regexp.MustCompile(`font-family:[^;"]*`)
	comments   = regexp.MustCompile(`(?s)<!--.*?-->\s*`)
)

// embed makes the library's file an element of the page: colours become variables, the
// font that of the page.
func embed(svg, name string) string {
	svg = comments.ReplaceAllString(svg, "")
	box := xmlHead.FindStringSubmatch(svg)
	if box == nil {
		return ""
	}
	body := svg[len(xmlHead.FindString(svg)):]
	body = paintOf.ReplaceAllStringFunc(body, func(s string) string {
		var r int
		fmt.Sscanf(s, "#0000%x", &r)
		return "var(--" + roleName(r) + ")"
	})
	body = fontFamily.ReplaceAllString(body, "font-family:inherit")
	return fmt.Sprintf("<svg class=\"chart\" role=\"img\" aria-label=%q viewBox=%q>\n", template.HTMLEscapeString(name), box[1]) + strings.TrimSpace(body)
}
