"""Stands in for nnUNetv2_train: writes the numbers of an epoch again and again, quickly.

python fake_training.py NUMBERS [what to do, as JSON]. The loss falls towards how far the learning rate is from 3e-4.
"wait_for" is a file, "side_by_side" a number of trainings that have begun: nothing is trained before they are there.
"""

import json
import math
import os
import sys
import time
from pathlib import Path

settings = json.loads(Path(os.environ["CHORDOMA_SETTINGS"]).read_text())
file = Path(os.environ["nnUNet_results"]) / sys.argv[1]
todo = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
rate = settings.get("learning_rate", 3e-4)
rows = json.loads(file.read_text()) if file.is_file() else []
print("continued after", len(rows), "epochs")
file.parent.mkdir(parents=True, exist_ok=True)
(file.parent / "pid").write_text(str(os.getpid()))
(file.parent / "checkpoint_latest.pth").write_bytes(b"weights")
(file.parent / "checkpoint_best.pth.partial").write_bytes(b"half of the weights")
(file.parent / "device").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
if todo.get("refuse") is True or rate in (todo.get("refuse") or []):
    sys.exit("error: the plans are refused")
trials = Path(os.environ["nnUNet_results"]).parent
begun = "*/" + str(Path(sys.argv[1]).with_name("pid"))
deadline = time.monotonic() + 120
while not Path(todo.get("wait_for", "/")).exists() or len(list(trials.glob(begun))) < todo.get("side_by_side", 0):
    if time.monotonic() > deadline:
        sys.exit("error: waited in vain")
    time.sleep(0.02)
for epoch in range(len(rows), settings["max_epochs"]):
    time.sleep(todo.get("epoch_s", 0.0))
    attempts = file.parent / f"attempts_{epoch}"
    attempts.write_text(attempts.read_text() + "x" if attempts.is_file() else "x")
    if todo.get("meanwhile"):
        Path(todo["meanwhile"][0]).write_text(todo["meanwhile"][1])
    if [rate, epoch] in todo.get("die", []) and len(attempts.read_text()) <= todo.get("deaths", 1):
        print("CUDA out of memory")
        sys.exit(1)
    loss = abs(math.log(rate / 3e-4)) + 1 / (epoch + 1)
    loss += todo.get("worse", {}).get(Path(os.environ["nnUNet_results"]).name, 0)
    loss = math.nan if rate in todo.get("diverge", []) else loss
    row = {"epoch": epoch, "val_loss": None if math.isnan(loss) else loss, "mean_iou": math.exp(-abs(loss) / 5)}
    rows.append(row | {"train_loss": 1.0, "learning_rate": rate})
    aside = file.with_suffix(".aside")
    aside.write_text(json.dumps(rows))
    aside.replace(file)
