"""Times PyTorch: torch_step.py NAME BATCH RUNS [train|forward] [THREADS]

train: forward, cross entropy, backward and SGD with momentum; forward: evaluation.
Prints the median in milliseconds and the peak of resident memory in MiB.
"""

import resource
import statistics
import sys
import time

import torch
import torch.nn.functional as F

from nets import make

name, batch, runs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
mode = sys.argv[4] if len(sys.argv) > 4 else "train"
torch.set_num_threads(int(sys.argv[5]) if len(sys.argv) > 5 else 2)
net, shape = make(name)
x, y = torch.randn(batch, *shape), torch.randint(0, 10, (batch,))
optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)


def train():
    optimizer.zero_grad(set_to_none=False)
    F.cross_entropy(net(x), y).backward()
    optimizer.step()


def forward():
    with torch.no_grad():
        net(x)


net.train(mode == "train")
step = train if mode == "train" else forward
times = []
for i in range(runs + 3):
    start = time.perf_counter()
    step()
    if i >= 3:
        times.append(time.perf_counter() - start)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"{1e3 * statistics.median(times):.3f} {peak:.0f}")
