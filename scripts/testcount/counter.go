package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// event is one line of "go test -json", described in "go doc test2json" and
// "go help buildjson".
type event struct {
	Action      string
	Package     string
	ImportPath  string
	Test        string
	Output      string
	Elapsed     float64
	FailedBuild string
}

// counter tallies events and writes a readable account of them to out.
type counter struct {
	out                     io.Writer
	passed, failed, skipped int
	output                  map[string][]string // package, or package and test, to its lines
	skips                   map[string]int      // reason to number of tests
	failedTests             map[string]int      // package to failed tests in the present run
	builds                  map[string]bool     // failed builds already printed
	verdicts                []string            // lines of the judges
}

func newCounter(out io.Writer) *counter {
	return &counter{
		out:         out,
		output:      map[string][]string{},
		skips:       map[string]int{},
		failedTests: map[string]int{},
		builds:      map[string]bool{},
	}
}

// read tallies every event of r. Lines that are no JSON object are passed on
// as they are.
func (c *counter) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if line[0] != '{' || json.Unmarshal(line, &e) != nil {
				fmt.Fprintf(c.out, "%s", line)
			} else {
				c.add(e)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (c *counter) add(e event) {
	switch {
	case e.Action == "build-output":
		c.output["build "+e.ImportPath] = append(c.output["build "+e.ImportPath], e.Output)
	case e.Action == "output":
		key := e.Package + " " + e.Test
		c.output[key] = append(c.output[key], e.Output)
		if _, line, ok := strings.Cut(e.Output, ": judge: "); ok && !slices.Contains(c.verdicts, line) {
			c.verdicts = append(c.verdicts, line)
		}
	case e.Test != "":
		c.addTest(e)
	default:
		c.addPackage(e)
	}
}

func (c *counter) addTest(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "pass":
		c.passed++
	case "skip":
		c.skipped++
		c.skips[skipReason(c.output[key])]++
	case "fail":
		c.failed++
		c.failedTests[e.Package]++
		c.print(key)
	default:
		return
	}
	delete(c.output, key)
}

func (c *counter) addPackage(e event) {
	key := e.Package + " "
	switch e.Action {
	case "pass":
		fmt.Fprintf(c.out, "ok    %s %.2fs\n", e.Package, e.Elapsed)
	case "fail":
		if c.failedTests[e.Package] == 0 {
			c.failed++
		}
		if build := e.FailedBuild; build != "" && !c.builds[build] {
			c.builds[build] = true
			c.print("build " + build)
		}
		c.print(key)
		fmt.Fprintf(c.out, "FAIL  %s %.2fs\n", e.Package, e.Elapsed)
	case "skip", "start":
	default:
		return
	}
	delete(c.output, key)
	delete(c.failedTests, e.Package)
}

// finish lists the reasons for which tests were skipped.
// finish prints why tests were skipped, and what the judges said.
func (c *counter) finish() {
	for _, reason := range slices.Sorted(maps.Keys(c.skips)) {
		fmt.Fprintf(c.out, "skipped %d: %s\n", c.skips[reason], reason)
	}
	slices.Sort(c.verdicts)
	for _, line := range c.verdicts {
		fmt.Fprintf(c.out, "judge %s\n", strings.TrimSpace(line))
	}
}

func (c *counter) print(key string) {
	for _, line := range c.output[key] {
		fmt.Fprint(c.out, line)
	}
}

// skipReason returns the message of t.Skip from the lines that a skipped test
// wrote: the first one that is not the framing of the testing package.
func skipReason(lines []string) string {
	for _, line := range lines {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") {
			continue
		}
		file, rest, ok := strings.Cut(line, ": ")
		if ok && strings.Contains(file, ".go:") {
			return rest
		}
		return line
	}
	return "no reason given"
}
