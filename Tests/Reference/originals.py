"""Runs a script of facebookresearch/dino (commit 7c446df), unchanged, in this process without a GPU: "cuda" leaves everything where it is, the process group is gloo's of one, and what newer versions of
Pillow and NumPy no longer have by that name is given its name. No program of its own."""
import builtins, contextlib, io, os, runpy, sys, warnings
import numpy as np, torch
from PIL import Image


def on_the_cpu(folder):
    stay = lambda self, *_, **__: self
    torch.Tensor.cuda = torch.nn.Module.cuda = stay
    torch.cuda.set_device = lambda *_: None
    start = torch.distributed.init_process_group
    torch.distributed.init_process_group = lambda backend, **kw: start("gloo", **kw)
    os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT="29517")
    if not hasattr(Image, "ANTIALIAS"):
        Image.ANTIALIAS = Image.LANCZOS
    if not hasattr(np, "in1d"):
        np.in1d = np.isin
    warnings.filterwarnings("ignore")
    sys.path.insert(0, folder)
    import utils, vision_transformer  # noqa: F401  the original's


def run(folder, script, *arguments):
    """What the script prints. Its options are read from `arguments`."""
    said, own, sys.argv = io.StringIO(), builtins.print, [script, *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(said):
            runpy.run_path(os.path.join(folder, script), run_name="__main__")
    finally:
        builtins.print = own  # utils.setup_for_distributed puts another in its place
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    return said.getvalue()
