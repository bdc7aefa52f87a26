"""Runs a trainer on two processes as nnU-Net's run_ddp does, with gloo on the CPU in place of NCCL on GPUs.

python two_processes.py JOB, a JSON file with trainer, plans, configuration, dataset and the folder for results.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

PROCESSES = 2


def run(rank, job):
    meeting = Path(job["out"]).absolute() / "meeting"
    dist.init_process_group("gloo", init_method=meeting.as_uri(), rank=rank, world_size=PROCESSES)
    torch.set_num_threads(1)
    from nnunetv2.training.logging.nnunet_logger import MetaLogger
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer

    from nnunet_chordoma.training import trainers

    # Processes on a CPU have no device of their own.
    wrap = nnUNetTrainer.DDP
    nnUNetTrainer.DDP = lambda network, device_ids: wrap(network)
    MetaLogger.plot_progress_png = lambda self, folder: None
    trainer = getattr(trainers, job["trainer"])(job["plans"], job["configuration"], 0, job["dataset"])
    trainer.device, trainer.grad_scaler = torch.device("cpu"), None
    seen, train_step = [], trainer.train_step

    def noting(batch):
        seen.extend(batch["data"].double().sum((1, 2, 3, 4)).tolist())
        return train_step(batch)

    trainer.train_step = noting
    trainer.run_training()
    log = trainer.logger.local_logger.my_fantastic_logging
    weights = torch.cat([p.detach().flatten() for p in trainer.network.parameters()])
    np.savez(
        Path(job["out"]) / f"rank{rank}.npz",
        seen=seen,
        weights=weights.numpy(),
        validated=trainer.num_val_iterations_per_epoch,
        **{key: log[key] for key in ("train_losses", "val_losses", "mean_iou")},
    )
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    mp.spawn(run, (json.loads(Path(sys.argv[1]).read_text()),), nprocs=PROCESSES)
