// Command asmgen writes the assembly of internal/kernel.
//
// It is run by go generate there; the output is committed. For every file name
// it writes name_amd64.s and name_amd64.go with the declarations.
package main

import (
	"bytes"
	"flag"
	"log"
	"os"
	"path/filepath"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
)

func main() {
	dir := flag.String("dir", ".", "directory of the kernel package")
	flag.Parse()
	log.SetFlags(0)
	write(*dir, "memory_asm", memory)
	write(*dir, "tile_asm", tiles)
	write(*dir, "grad_asm", grads)
	write(*dir, "elementwise_asm", elementwise)
	write(*dir, "transcendental_asm", transcendentals)
	write(*dir, "optimizer_asm", optimizers)
	write(*dir, "selection_asm", selections)
	write(*dir, "batchnorm_asm", norms)
	write(*dir, "pooling_asm", pools)
	write(*dir, "depthrows_asm", depthRows)
	write(*dir, "denserows_asm", denseRows)
	write(*dir, "densegrad_asm", denseGrads)
}

// write generates one file. Parameters of the types in argTypes are declared as
// *byte under a name of their own and renamed in the output: the types belong
// to the kernel package, which the generator does not load.
func write(dir, name string, generate func(c *build.Context)) {
	c := build.NewContext()
	c.ConstraintExpr("!purego")
	generate(c)
	file, err := c.Result()
	if err != nil {
		log.Fatalf("%s: %+v", name, err)
	}
	if err := pass.Compile.Execute(file); err != nil {
		log.Fatalf("%s: %+v", name, err)
	}
	cfg := printer.Config{Name: "asmgen", Pkg: "kernel"}
	for suffix, p := range map[string]printer.Printer{"_amd64.s": printer.NewGoAsm(cfg), "_amd64.go": printer.NewStubs(cfg)} {
		out, err := p.Print(file)
		if err != nil {
			log.Fatalf("%s: %+v", name, err)
		}
		out = bytes.ReplaceAll(out, []byte("by asmgen"), []byte("by internal/asmgen"))
		for _, t := range argTypes {
			out = bytes.ReplaceAll(out, []byte("("+t.param+" *byte)"), []byte("(a *"+t.name+")"))
			out = bytes.ReplaceAll(out, []byte(t.param+"+0(FP)"), []byte("a+0(FP)"))
		}
		if err := os.WriteFile(filepath.Join(dir, name+suffix), out, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}

var argTypes = []struct{ param, name string }{
	{"tile", "tileArgs"},
	{"grad", "gradArgs"},
	{"depthGrad", "depthGradArgs"},
	{"depthRows", "depthRowsArgs"},
	{"depthRowsGrad", "depthRowsGradArgs"},
	{"denseRows", "denseRowsArgs"},
	{"denseGrad", "denseGradArgs"},
}
