package data

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestParseMeta(t *testing.T) {
	got, err := ParseMeta([]byte(`{"classes":["a","b"],"scale":0.5,"mean":[0,1],"std":[2]}`))
	want := Meta{Classes: []string{"a", "b"}, Scale: 0.5, Mean: []float64{0, 1}, Std: []float64{2}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, c := range []struct{ text, want string }{
		{``, "unexpected end"},
		{`[]`, "cannot unmarshal array"},
		{`{"sclae":1}`, `unknown field "sclae"`},
		{`{"scale":0}`, "scale is 0"},
		{`{"scale":1e300}`, "scale is 1e+300"},
		{`{"scale":"1"}`, "cannot unmarshal string"},
		{`{"mean":[1,2],"std":[1,2,3]}`, "mean has 2 values and std has 3"},
		{`{"std":[1,0],"mean":[1e-60]}`, "mean[0] is 1e-60, want 0 or a normal float32; std[1] is 0"},
		{`{"std":[-1]}`, "std[0] is -1"},
		{`{"scale":1} {}`, "after top-level value"},
	} {
		if _, err := ParseMeta([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.text, err, c.want)
		}
	}
}

func TestReadMeta(t *testing.T) {
	dir := t.TempDir()
	if m, err := ReadMeta(dir); err != nil || !reflect.DeepEqual(m, Meta{}) {
		t.Errorf("absent file: %+v, %v", m, err)
	}
	want := Meta{Classes: []string{"a"}, Scale: 2, Mean: []float64{1}, Std: []float64{3}}
	if err := WriteMeta(dir, want); err != nil {
		t.Fatal(err)
	}
	if m, err := ReadMeta(dir); err != nil || !reflect.DeepEqual(m, want) {
		t.Errorf("got %+v, %v; want %+v", m, err, want)
	}
	path := filepath.Join(dir, MetaFile)
	if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadMeta(dir); err == nil || !strings.HasPrefix(err.Error(), path+": ") {
		t.Errorf("broken file: error %v does not begin with %s", err, path)
	}
}

func FuzzParseMeta(f *testing.F) {
	f.Add([]byte(`{"classes":["a"],"scale":0.00392156862745098,"mean":[0.5],"std":[0.25,0.5]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseMeta(text)
		if err != nil {
			return
		}
		for _, channels := range []int{1, 3} {
			norm, err := m.normalization(channels)
			if err != nil {
				continue
			}
			for _, n := range norm {
				if y := n.apply(1); y-y != 0 {
					t.Fatalf("%+v: 1 becomes %v", m, y)
				}
			}
		}
	})
}
