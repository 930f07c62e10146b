package report

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func TestNumbersThatAreNoneAreNull(t *testing.T) {
	for v, want := range map[Number]string{1.5: "1.5", Number(math.Inf(1)): "null", Number(math.NaN()): "null"} {
		b, err := json.Marshal(v)
		if err != nil || string(b) != want {
			t.Errorf("%v: %s, %v, want %s", float64(v), b, err, want)
		}
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestSparsity(t *testing.T) {
	if got := NewSize(8, 2, nil).Sparsity; got != 0.75 {
		t.Errorf("sparsity %v, want 0.75", got)
	}
	if got := NewSize(0, 0, nil).Sparsity; got != 0 {
		t.Errorf("sparsity of nothing %v, want 0", got)
	}
}

func sample() *Run {
	macs, top1, top5, loss := int64(5000), 0.5, 0.75, Number(0.25)
	return &Run{
		Format: 1, Input: "a.onnx", Output: "b.onnx", Settings: Settings{Method: "bip", Masks: "fold", Seed: 1},
		Dense:     Stage{NewSize(1000, 1000, &macs), &Score{Loss: 0.1, Top1: &top1, Top5: &top5, Samples: 4}},
		Magnitude: &Stage{NewSize(1000, 200, &macs), &Score{Loss: Number(math.NaN()), Top1: &top1, Top5: &top5, Samples: 4}},
		Final:     Stage{NewSize(1000, 200, &macs), &Score{Loss: 0.2, Top1: &top1, Top5: &top5, Samples: 4}},
		Epochs:    []Epoch{{}, {Epoch: 1, TrainLoss: &loss, MaskChanged: 0.01}}, BestEpoch: 1, ExportedEpoch: 1,
		Layers: []Layer{}, Facts: []Fact{}, Seconds: 2,
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	if err := sample().Write(&b); err != nil {
		t.Fatal(err)
	}
	want := `                      params  nonzero  sparsity   MACs    top-1    loss
dense                  1,000    1,000    0.00 %  5,000  50.00 %  0.1000
magnitude, untrained   1,000      200   80.00 %  5,000  50.00 %     NaN
bip, epoch 1           1,000      200   80.00 %  5,000  50.00 %  0.2000
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
	b.Reset()
	r := sample()
	r.Magnitude, r.Epochs, r.Dense.Score, r.Final.Score, r.Final.MACs, r.Settings.Method = nil, nil, nil, nil, nil, "omp"
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	want = `       params  nonzero  sparsity   MACs
dense   1,000    1,000    0.00 %  5,000
omp     1,000      200   80.00 %      ?
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

func TestJSONIsTheSameEachTime(t *testing.T) {
	var a, b bytes.Buffer
	for _, w := range []*bytes.Buffer{&a, &b} {
		if err := WriteJSON(w, sample()); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two encodings of the same run differ")
	}
	var v map[string]any
	if err := json.Unmarshal(a.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"settings", "ratio", "dense", "magnitude", "final", "epochs", "best_epoch", "exported_epoch", "layers", "facts", "seconds"} {
		if _, ok := v[key]; !ok {
			t.Errorf("no key %q", key)
		}
	}
	if loss := v["magnitude"].(map[string]any)["score"].(map[string]any)["loss"]; loss != nil {
		t.Errorf("a loss that is NaN shows as %v, want null", loss)
	}
}

func TestLoss(t *testing.T) {
	for x, want := range map[float64]string{0: "0.0000", 2.30259: "2.3026", 0.01: "0.0100", 0.009999: "0.01", 0.00034567: "0.000346", 1e-9: "1e-09", 12345.678: "12345.6780"} {
		if got := Loss(x); got != want {
			t.Errorf("%v is written %q, want %q", x, got, want)
		}
	}
}
