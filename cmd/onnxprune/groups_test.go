package main

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestGroupsGolden compares inspect --groups of the project's models with golden files.
func TestGroupsGolden(t *testing.T) {
	for _, path := range modelFiles(t, "../../testdata/models/*.onnx") {
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		t.Run(name, func(t *testing.T) {
			got := command(t, "inspect", path, "--groups")
			_, got, _ = strings.Cut(got, ": ") // without the path
			golden := filepath.Join("testdata", "groups", name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the groups differ from %s (go test ./cmd/onnxprune -run Golden -update rewrites it):\n%s", golden, got)
			}
		})
	}
}

// TestGroupsJSON holds the JSON of inspect --groups against the dense model: a unit
// carries what its members have, and everything is deterministic.
func TestGroupsJSON(t *testing.T) {
	text := command(t, "inspect", "../../testdata/models/glyphs_resnet_bn.onnx", "--groups", "--json")
	if again := command(t, "inspect", "../../testdata/models/glyphs_resnet_bn.onnx", "--groups", "--json"); again != text {
		t.Error("two runs print different JSON")
	}
	var c channelGroups
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	if c.Params != 39002 || c.MACs != 872768 {
		t.Errorf("params %d, MACs %d", c.Params, c.MACs)
	}
	// layer1.conv1 [16,16,3,3] with its norm, and layer1.conv2 reading it: 144+4+144.
	for _, g := range c.Groups {
		if g.Name == "layer1.conv1.weight" {
			if g.Units != 16 || g.Params != 292 || len(g.Members) != 6 {
				t.Errorf("%+v", g)
			}
			return
		}
	}
	t.Error("no group layer1.conv1.weight")
}
