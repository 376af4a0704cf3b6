"""Shows a file of TorchArchiveWriter to PyTorch: it must load with weights_only=True and have the values that WriterTests wrote.

    python Tests/Reference/check_torch_writer.py Tests/Fixtures/torch/written.pth
"""

import sys
import zipfile

import torch

for path in sys.argv[1:]:
    assert zipfile.ZipFile(path).testzip() is None
    state = torch.load(path, weights_only=True)
    mapped = torch.load(path, weights_only=True, mmap=True)
    assert state["half"].tolist() == [1.0, -2.0] and state["half"].dtype == torch.float16
    assert state["bfloat"].tolist() == [1.0, -2.0] and state["bfloat"].dtype == torch.bfloat16
    assert state["int64"].tolist() == [[-1], [2**40]] and state["bool"].tolist() == [True, False, True]
    assert state["scalar"].item() == 2.5 and state["scalar"].shape == () and state["empty"].shape == (0, 3)
    assert state["blocks.0.größe"].shape == (2, 3, 4)
    assert all(torch.equal(state[k], mapped[k]) for k in state)
    print(path, "is read:", {k: tuple(v.shape) for k, v in state.items()})
