package main

import (
	"encoding/json"
	"reflect"
	"regexp"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/onnxprune/onnxprune/prune"
)

// TestKeyHasEveryFlag changes each flag of a pruning run in turn: all but those that name
// files or say how the run is shown must change the key of a cell.
func TestKeyHasEveryFlag(t *testing.T) {
	aside := map[string]bool{"In": true, "Out": true, "Data": true, "Val": true, "Report": true, "Quiet": true, "Threads": true, "MemoryLimit": true}
	key := func(p *pruneCmd) string {
		b, err := json.Marshal(keyFlags(p))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	plain, n := key(&pruneCmd{}), 0
	var walk func(v reflect.Value, path []int)
	walk = func(v reflect.Value, path []int) {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			at := append(append([]int(nil), path...), i)
			if f.Anonymous {
				walk(v.Field(i), at)
				continue
			}
			if !f.IsExported() {
				continue
			}
			p := &pruneCmd{}
			set(t, f.Name, reflect.ValueOf(p).Elem().FieldByIndex(at))
			if changed := key(p) != plain; changed == aside[f.Name] {
				t.Errorf("%s: in the key %v", f.Name, changed)
			}
			n++
		}
	}
	walk(reflect.ValueOf(pruneCmd{}), nil)
	if n < 40 {
		t.Errorf("%d flags, there are more", n)
	}
}

// set changes a flag.
func set(t *testing.T, name string, v reflect.Value) {
	t.Helper()
	switch x := v.Addr().Interface().(type) {
	case *share:
		*x = share{true, 0.5}
		return
	case *[]pattern:
		*x = []pattern{{regexp.MustCompile("a")}}
		return
	case *[]string:
		*x = []string{"x"}
		return
	case *[]layerRatio:
		*x = []layerRatio{{prune.LayerRatio{Match: regexp.MustCompile("a"), Ratio: 0.5}}}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Int:
		v.SetInt(7)
	case reflect.Uint64:
		v.SetUint(7)
	case reflect.Float64:
		v.SetFloat(7)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Slice:
		v.Set(reflect.ValueOf([]string{"x"}))
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]int{"x": 7}))
	default:
		t.Fatalf("%s is a %s, which this test cannot set", name, v.Type())
	}
}

// TestSweepHasTheFlagsOfARun: what shapes a pruning run can be said of all runs of a sweep.
func TestSweepHasTheFlagsOfARun(t *testing.T) {
	flags := func(cmd any) map[string]bool {
		k, err := kong.New(cmd, kong.Vars{"methods": "", "importances": "", "untrained": "", "trained": "", "equal_passes": "", "engines": ownEngine})
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]bool{}
		for _, f := range k.Model.Flags {
			out[f.Name] = true
		}
		return out
	}
	// What the grid says, or every cell for itself; a sweep always has --val.
	own := map[string]bool{"help": true, "ratio": true, "structure": true, "method": true, "retrain": true, "rewind": true, "rewind-from": true, "masks": true, "sparse": true, "report": true, "engine": true, "checkpoint": true, "checkpoint-every": true, "hold-out": true}
	have := flags(&sweepCmd{})
	for name := range flags(&pruneCmd{}) {
		if !own[name] && !have[name] {
			t.Errorf("--%s is a flag of pruning and not of sweep", name)
		}
	}
}
