package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/report"
)

// callTime is the JSON of one call of a plan.
type callTime struct {
	Pass     string        `json:"pass"`
	Operator string        `json:"operator"`
	Node     string        `json:"node"`
	MS       report.Number `json:"ms"`
	GFLOPS   report.Number `json:"gflops,omitempty"`
}

// callTimes orders calls by time, longest first.
func callTimes(calls []engine.CallTime) []callTime {
	var ts []callTime
	for _, c := range calls {
		t := callTime{Pass: "forward", Operator: c.Operator, Node: c.Title, MS: report.Number(1e3 * c.Seconds)}
		if c.Backward {
			t.Pass = "backward"
		}
		if c.MACs > 0 && c.Seconds > 0 {
			t.GFLOPS = report.Number(2 * float64(c.MACs) / c.Seconds / 1e9)
		}
		ts = append(ts, t)
	}
	slices.SortStableFunc(ts, func(a, b callTime) int { return cmp.Compare(b.MS, a.MS) })
	return ts
}

// writeCalls prints the calls and the sums by operator; nothing without calls.
func writeCalls(con *console, calls []callTime, ms float64) error {
	if len(calls) == 0 {
		return nil
	}
	t := report.NewTable(">ms", ">share", ">GFLOP/s", "pass", "operator", "node")
	type kind struct{ pass, operator string }
	sums := map[kind]float64{}
	var kinds []kind
	for _, c := range calls {
		rate := ""
		if c.GFLOPS > 0 {
			rate = fmt.Sprintf("%.1f", float64(c.GFLOPS))
		}
		t.Row(fmt.Sprintf("%.3f", float64(c.MS)), report.Percent(float64(c.MS)/ms), rate, c.Pass, c.Operator, c.Node)
		k := kind{c.Pass, c.Operator}
		if _, ok := sums[k]; !ok {
			kinds = append(kinds, k)
		}
		sums[k] += float64(c.MS)
	}
	if err := t.Write(con.out); err != nil {
		return err
	}
	fmt.Fprintln(con.out)
	slices.SortStableFunc(kinds, func(a, b kind) int { return cmp.Compare(sums[b], sums[a]) })
	t = report.NewTable(">ms", ">share", "pass", "operator")
	for _, k := range kinds {
		t.Row(fmt.Sprintf("%.3f", sums[k]), report.Percent(sums[k]/ms), k.pass, k.operator)
	}
	if err := t.Write(con.out); err != nil {
		return err
	}
	fmt.Fprintln(con.out)
	return nil
}
