package kernel

import "time"

// PeakGFLOPS measures the arithmetic peak of the active variant with all
// threads of the pool: the best rate, in 10⁹ floating-point operations per
// second, of the convolution tile on operands that stay in the first-level
// cache. It takes about 0.2 s.
func PeakGFLOPS(p *Pool) float64 {
	const k, pixels, rounds = 64, 24, 200
	in := make([]int32, pixels+tileSlack)
	for i := range in {
		in[i] = -1
	}
	w, bias, zero := make([]float32, k*32), make([]float32, 32), zeros(k)
	rows := make([]int32, 1)
	best := 0.0
	task := func(int, int) {
		t := tileArgs{
			x: &w[0], zero: &zero[0], in: &in[0], out: &in[0], w: &w[0], y: &w[0], bias: &bias[0],
			taps: 1, cin: k, n: pixels, lanes: 32, width: 32, lo: -inf32, hi: inf32, rows: &rows[0],
		}
		for range rounds {
			tile(&t)
		}
	}
	tasks := 4 * p.Threads()
	for start := time.Now(); time.Since(start) < 200*time.Millisecond; {
		t0 := time.Now()
		p.Run(tasks, task)
		flops := 2 * float64(tasks) * rounds * pixels * 32 * k
		best = max(best, flops/time.Since(t0).Seconds()/1e9)
	}
	return best
}
