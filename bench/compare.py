"""Runs PyTorch or ONNX Runtime and onnxprune in turn; prints the ratios of their times.

compare.py train|forward MODELS ONNXPRUNE [--ort PROGRAM LIBRARY] [--nets A,B] [--batch 64,128]
           [--rounds 5] [--threads 2] [--avx2]

One round is a process of each, one after the other. The ratio is the median over the
rounds of our time by theirs, with the smallest and largest in brackets.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
# PyTorch gives freed memory back and asks for it again in every step otherwise.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "17179869184", "MALLOC_TOP_PAD_": "268435456"}
AVX2 = {"ONNXPRUNE_KERNEL": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "DNNL_MAX_CPU_ISA": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
# Steps of a process: about two seconds.
RUNS = {"resnet18": 4, "vgg16": 5, "resnet20": 15, "mobilenetv2": 5, "mnist": 60}


def call(command, env):
    """Returns what a process prints and its peak of resident memory in MiB."""
    with tempfile.TemporaryFile() as out:
        p = subprocess.Popen(command, stdout=out, env={**os.environ, **env})
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        if p.returncode != 0:
            sys.exit(f"compare: {' '.join(command)} failed")
        out.seek(0)
        return out.read().decode(), usage.ru_maxrss / 1024


def main():
    p = argparse.ArgumentParser()
    p.add_argument("mode", choices=["train", "forward"])
    p.add_argument("models")
    p.add_argument("onnxprune")
    p.add_argument("--ort", nargs=2, help="compare with ONNX Runtime instead of PyTorch")
    p.add_argument("--nets", default=",".join(RUNS))
    p.add_argument("--batch", default="64,128")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--avx2", action="store_true")
    a = p.parse_args()
    isa = AVX2 if a.avx2 else {}
    other = "ONNX Runtime" if a.ort else "PyTorch"
    print(f"{a.mode}, {a.threads} threads{', AVX2' if a.avx2 else ''}")
    print(f"{'net':12} {'batch':>5} {'ours ms':>9} {other + ' ms':>16} {'ratio':>22} {'GFLOP/s':>8} {'of peak':>8} {'ours MiB':>9} {'theirs MiB':>10}")
    for net in a.nets.split(","):
        for batch in a.batch.split(","):
            model, runs = os.path.join(a.models, net + ".onnx"), str(RUNS[net] * (1 if a.mode == "train" else 3))
            mine = [a.onnxprune, "bench", model, "--batch", batch, "--runs", runs, "--threads", str(a.threads), "--json"]
            if a.mode == "train":
                mine.append("--train")
            theirs = [sys.executable, os.path.join(HERE, "torch_step.py"), net, batch, runs, a.mode, str(a.threads)]
            if a.ort:
                theirs = [a.ort[0], a.ort[1], model, batch, runs, str(a.threads)]
            rounds = []
            for _ in range(a.rounds):
                out, _ = call(theirs, {**MALLOC, **isa} if not a.ort else isa)
                their_ms, their_mem = map(float, out.split())
                out, mem = call(mine, isa)
                m = json.loads(out)
                rounds.append((m[a.mode + "_ms"], their_ms, mem, their_mem, m["gflops"], m["peak_gflops"]))
            ms, their_ms, mem, their_mem, gflops, peak = (statistics.median(c) for c in zip(*rounds))
            ratios = sorted(r[0] / r[1] for r in rounds)
            spread = f"{statistics.median(ratios):.3f} [{ratios[0]:.3f}, {ratios[-1]:.3f}]"
            print(f"{net:12} {batch:>5} {ms:9.2f} {their_ms:16.2f} {spread:>22} {gflops:8.1f} {gflops / peak:8.1%} {mem:9.0f} {their_mem:10.0f}", flush=True)


main()
