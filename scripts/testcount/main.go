// Command testcount reads the output of one or more runs of "go test -json"
// from standard input, prints what failed and one line per package, and ends
// with the line
//
//	N passed, N failed, N skipped
//
// Tests and subtests count alike. It exits with status 1 when anything failed,
// a package that does not build included, or when fewer than -min tests passed,
// so that an empty suite is a failure.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	minPassed := flag.Int("min", 1, "fail when fewer tests than this passed")
	flag.Parse()
	c := newCounter(os.Stdout)
	if err := c.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testcount:", err)
		os.Exit(1)
	}
	c.finish()
	ok := c.failed == 0
	if c.passed < *minPassed {
		fmt.Printf("only %d tests passed, expected at least %d\n", c.passed, *minPassed)
		ok = false
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", c.passed, c.failed, c.skipped)
	if !ok {
		os.Exit(1)
	}
}
