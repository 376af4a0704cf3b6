#!/usr/bin/env python3
"""kill -9 at random moments: every run of dinoctl that is killed and resumed must end in the same bits as the run that was left alone. Small networks on made-up pictures; checkpoints
are written as often as the clock allows, so that many kills fall into a write. Compared are networks, optimizer, centres, the model, kept checkpoints, every line of epochs.jsonl and
every line of log.jsonl but for its speed. Nothing but Python's own library.

  python check_kill_resume.py .build/release/dinoctl [kills in each kind of run, 20] [seed] [kinds whose name has this in it]

Prints one line a kind of run, and ends with 0 where all agree.
"""
import json, os, random, shutil, signal, subprocess, sys, tempfile, time

tool, kills, seed = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20, int(sys.argv[3]) if len(sys.argv) > 3 else 0
draw = random.Random(seed)
work = tempfile.mkdtemp(prefix="kill-resume-")
os.makedirs(f"{work}/pictures")
for i in range(24):
    with open(f"{work}/pictures/{i:02}.ppm", "wb") as f: f.write(b"P6\n40 36\n255\n" + bytes(draw.randrange(256) for _ in range(40 * 36 * 3)))

network = ["--width", "32", "--depth", "2", "--heads", "2", "--patch-size", "8"]
common = ["--data", f"{work}/pictures", "--global-size", "32", "--local-size", "16", "--local-crops-number", "2", "--batch-size", "4", "--epochs", "5", "--warmup-epochs", "1",
          "--saveckp-freq", "2", "--save-minutes", "0.0001", "--threads", "2", "--quiet"]
head = ["--out-dim", "64", "--head-hidden-dim", "48", "--head-bottleneck-dim", "16"]
teacher = f"{work}/teacher.safetensors"
subprocess.run([tool, "init", "--width", "48", "--depth", "2", "--heads", "3", "--patch-size", "8", "--image-size", "32", "-o", teacher, "--quiet"], check=True)
kinds = {f"train {p}": ["train", *network, *head, "--precision", p] for p in ("f32", "bf16")}
kinds["train bf16 with iBOT"] = ["train", *network, *head, "--precision", "bf16", "--ibot-loss-weight", "1"]
kinds["distill f32"] = ["distill", "--teacher", teacher, *network]

def result(folder):
    """All that must not depend on the kill: networks and optimizer, the model, what was logged."""
    names = [n for n in sorted(os.listdir(folder)) if n.endswith(".safetensors")]
    steps, epochs = ([json.loads(l) for l in open(f"{folder}/{n}")] for n in ("log.jsonl", "epochs.jsonl"))
    return {n: open(f"{folder}/{n}", "rb").read() for n in names}, [{k: v for k, v in s.items() if k != "images_per_second"} for s in steps], epochs

failed = 0
for kind, arguments in kinds.items():
    if len(sys.argv) > 4 and sys.argv[4] not in kind: continue
    whole, start = f"{work}/whole", time.monotonic()
    subprocess.run([tool, *arguments, *common, "--output-dir", whole], check=True, stdout=subprocess.DEVNULL)
    seconds, expected, agree, midway, leftovers = time.monotonic() - start, result(whole), 0, 0, 0
    for n in range(kills):
        folder, hits = f"{work}/killed", 0
        # A second kill, of the run that goes on, every fourth time.
        for _ in range(2 if n % 4 == 3 else 1):
            process = subprocess.Popen([tool, *arguments, *common, "--output-dir", folder, "--resume"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(draw.uniform(0, seconds))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                hits += 1
            process.wait()
        midway += hits > 0 and os.path.exists(f"{folder}/checkpoint.safetensors")
        leftovers += os.path.isdir(folder) and any(f.endswith(".tmp") for f in os.listdir(folder))
        subprocess.run([tool, *arguments, *common, "--output-dir", folder, "--resume"], check=True, stdout=subprocess.DEVNULL)
        same = result(folder) == expected
        agree += same
        if not same: print(f"{kind}, kill {n}: other bits, kept in {folder}.{n}"); shutil.copytree(folder, f"{folder}.{n}")
        shutil.rmtree(folder)
    shutil.rmtree(whole)
    failed += agree < kills
    print(f"{kind}: {agree} of {kills} killed runs end in the same bits ({midway} had a checkpoint to go on from, {leftovers} a half-written file; a whole run takes {seconds:.1f} s)", flush=True)
if not failed: shutil.rmtree(work)
sys.exit(1 if failed else 0)
