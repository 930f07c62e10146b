// Command onnxprune prunes neural networks in ONNX files.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/prune"
	"github.com/onnxprune/onnxprune/sweep"
)

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 80
)

const description = "Prunes neural networks in ONNX files: one-shot by weight magnitude, or by bi-level pruning with data."

type commands struct {
	Prune   pruneCmd   `cmd:"" default:"withargs" help:"Prune the model IN and write OUT (the default command)."`
	Sweep   sweepCmd   `cmd:"" help:"Compare methods over ratios, structures and seeds: curves and tables for your own network."`
	Resume  resumeCmd  `cmd:"" help:"Go on with a run that was interrupted, from its checkpoints."`
	Inspect inspectCmd `cmd:"" help:"Show layers, shapes, parameters, multiply-adds and sparsity."`
	Eval    evalCmd    `cmd:"" help:"Measure loss, top-1, top-5 and speed on a dataset."`
	Verify  verifyCmd  `cmd:"" help:"Compare what two models compute on the same inputs."`
	Bench   benchCmd   `cmd:"" help:"Measure forward or training-step time on random data."`
	Ops     opsCmd     `cmd:"" help:"List the supported operators."`

	Version kong.VersionFlag `help:"Print the version and exit."`
}

// console is where a command talks to.
type console struct {
	out, err io.Writer
	// terminal is set where err is a terminal of that many columns.
	terminal bool
	columns  int
}

func main() {
	go signals.watch()
	os.Exit(guarded(func() int { return run(os.Args[1:]) }))
}

// guarded turns a panic in f into an error of ours: no trace, no path of a machine.
func guarded(f func() int) (code int) {
	defer func() {
		if r := recover(); r != nil {
			code = fail(fmt.Errorf("internal error, please report it with the command and the model: %v", r), exitFailed)
		}
	}()
	return f()
}

// run executes a command line and returns the exit code.
func run(args []string) int {
	var cmd commands
	exited := -1
	parser, err := newParser(&cmd, func(c int) {
		if exited < 0 {
			exited = c
		}
	})
	if err != nil {
		return fail(err, exitFailed)
	}
	if len(args) == 0 {
		return fail(errors.New("no command\nhint: onnxprune IN OUT --ratio 0.8 prunes a model; onnxprune --help shows all commands and flags"), exitUsage)
	}
	ctx, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		return fail(fmt.Errorf("%w\nhint: onnxprune --help shows the commands and flags", err), exitUsage)
	}
	if err := kernel.Err(); err != nil {
		return fail(err, exitFailed)
	}
	cmd.Prune.arguments = args
	if err := ctx.Run(newConsole()); errors.Is(err, prune.ErrStopped) {
		signals.say(os.Stderr)
		return exitInterrupted
	} else if err != nil {
		return fail(err, exitFailed)
	}
	return 0
}

// newParser describes the command line.
func newParser(cmd *commands, exit func(code int)) (*kong.Kong, error) {
	return kong.New(cmd,
		kong.Name("onnxprune"),
		kong.Description(description),
		kong.Vars{
			"version":      "onnxprune " + version(),
			"untrained":    prune.UntrainedImportance,
			"trained":      prune.TrainedImportance,
			"engines":      engineNames(),
			"methods":      strings.Join(prune.Methods(), ","),
			"equal_passes": sweep.EqualPasses,
			"importances":  strings.Join(prune.Importances(), ", "),
		},
		kong.WithHyphenPrefixedParameters(true),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Exit(exit),
	)
}

// fail prints an error, each line of it after the program's name, hints as they are.
func fail(err error, code int) int {
	for _, line := range strings.Split(strings.TrimRight(err.Error(), "\n"), "\n") {
		if !strings.HasPrefix(line, "hint:") {
			line = "onnxprune: " + line
		}
		fmt.Fprintln(os.Stderr, line)
	}
	return code
}

// version is that of the module, where the build knows it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
