package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/onnxprune/onnxprune/"

// mayImport says, per folder of the program, which others and which libraries it may
// import directly.
var mayImport = map[string][]string{
	"internal/kernel": {"golang.org/x/sys/cpu", "golang.org/x/sys/unix"},
	"op":              {"internal/kernel"},
	"onnxio":          {"github.com/gogo/protobuf/proto", "github.com/klauspost/compress/zstd"},
	"graph":           {"onnxio", "op"},
	"engine":          {"graph", "op", "internal/kernel"},
	"data":            {"golang.org/x/sys/unix"},
	"checkpoint":      {"onnxio"},
	"prune":           {"checkpoint", "engine", "graph", "data", "op", "internal/kernel"},
	"export":          {"engine", "graph", "onnxio", "op", "internal/kernel"},
	"report":          {},
	"sweep":           {"onnxio", "report"},
	"report/page": {"report", "sweep", "gonum.org/v1/plot", "gonum.org/v1/plot/font", "gonum.org/v1/plot/plotter", "gonum.org/v1/plot/text",
		"gonum.org/v1/plot/vg", "gonum.org/v1/plot/vg/draw", "gonum.org/v1/plot/vg/vgsvg"},
	"cmd/onnxprune": {"onnxio", "graph", "op", "engine", "data", "checkpoint", "prune", "export", "report", "report/page", "sweep", "internal/kernel",
		"github.com/alecthomas/kong", "golang.org/x/term"},
}

// TestImportsPointOneWay holds the packages of the program to the table above.
func TestImportsPointOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", `{{if not .Standard}}{{.ImportPath}}: {{join .Imports " "}}{{end}}`, ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := map[string]bool{}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		path, imports, _ := strings.Cut(line, ": ")
		pkg, ours := strings.CutPrefix(path, module)
		if !ours {
			continue
		}
		seen[pkg] = true
		allowed, listed := mayImport[pkg]
		if !listed {
			t.Errorf("%s is part of the program and has no entry in the table", pkg)
		}
		for _, i := range strings.Fields(imports) {
			name, internal := strings.CutPrefix(i, module)
			if !internal && !strings.Contains(strings.Split(i, "/")[0], ".") {
				continue // standard library
			}
			if !slices.Contains(allowed, name) {
				t.Errorf("%s imports %s, may import %q", pkg, name, allowed)
			}
		}
	}
	for pkg := range mayImport {
		if !seen[pkg] {
			t.Errorf("%s is in the table and not part of the program", pkg)
		}
	}
}

// TestProgramNeedsNoC keeps cgo out of the binary.
func TestProgramNeedsNoC(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", `{{if and (not .Standard) .CgoFiles}}{{.ImportPath}}{{end}}`, ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	if s := strings.TrimSpace(string(out)); s != "" {
		t.Errorf("packages with cgo: %s", s)
	}
}
