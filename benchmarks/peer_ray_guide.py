"""The peer: a sweep as Ray's PyTorch guide, timm's and Accelerate's lead a competent user to write it.

A function trainable with one CPU a trial, a full forward pass every epoch, a checkpoint every epoch, and an ImageFolder
read by a DataLoader without workers, since two trials fill two cores. Prints one line of JSON. In most scripts
`model.train()` puts the BatchNorm of frozen layers into train mode (`train`); some put it back (`eval`).

https://docs.ray.io/en/latest/tune/examples/tune-pytorch-cifar.html, https://huggingface.co/docs/timm/training_script,
https://huggingface.co/docs/accelerate/basic_tutorials/migration
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
import timm
import torch
from accelerate import Accelerator
from ray import tune
from setting import BATCH, EPOCHS, SIZE, WEIGHTS, process_age
from sklearn.metrics import f1_score
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder


def main() -> None:
    """Run the points of a JSON file on the photos of a folder, with frozen BatchNorm in `train` or `eval` mode."""
    imports = process_age()
    points, root, batchnorm = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2], sys.argv[3]
    before = time.perf_counter()
    ray.init(address="local", include_dashboard=False, log_to_driver=False, num_cpus=len(os.sched_getaffinity(0)))
    started = time.perf_counter() - before
    with tempfile.TemporaryDirectory() as results:
        tuner = tune.Tuner(
            tune.with_resources(train_classifier, {"cpu": 1}),
            param_space={"point": tune.grid_search(points), "root": root, "batchnorm": batchnorm},
            run_config=tune.RunConfig(storage_path=results, verbose=0),
        )
        before = time.perf_counter()
        grid = tuner.fit()
        seconds = time.perf_counter() - before
        if grid.errors:
            raise SystemExit(f"a trial of the peer failed: {grid.errors[0]}")
        best = max(result.metrics_dataframe["macro_f1"].max() for result in grid)
    ray.shutdown()
    print(json.dumps({"seconds": seconds, "imports": imports, "ray": started, "objective": float(best)}))


def train_classifier(config: dict[str, Any]) -> None:
    """One trial."""
    point = config["point"]
    accelerator = Accelerator(cpu=True)
    torch.manual_seed(42)
    model = timm.create_model(
        point["architecture"],
        pretrained=True,
        pretrained_cfg_overlay={"file": str(WEIGHTS / f"{point['architecture']}.safetensors")},
        num_classes=6,
    )
    thaw(model, point)
    train_loader, val_loader, weights = loaders(model, Path(config["root"]), point)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=point["lr"])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)
    criterion = nn.CrossEntropyLoss(weight=weights)
    model, optimizer, train_loader, val_loader = accelerator.prepare(model, optimizer, train_loader, val_loader)
    for _ in range(EPOCHS):
        model.train()
        if config["batchnorm"] == "eval":
            freeze_statistics(model)
        for images, labels in train_loader:
            optimizer.zero_grad()
            accelerator.backward(criterion(model(images), labels))
            optimizer.step()
        scheduler.step()
        with tempfile.TemporaryDirectory() as folder:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state, Path(folder) / "checkpoint.pt")
            tune.report({"macro_f1": validate(model, val_loader)}, checkpoint=tune.Checkpoint.from_directory(folder))


def thaw(model: nn.Module, point: dict[str, Any]) -> None:
    """Freeze all but the classifier; `partial` thaws the stages that Thaw thaws, `full` everything."""
    if point["strategy"] == "full":
        return
    from trainables.model.stages import stage_table

    trainable = stage_table(model).trainable(point.get("trainable_stages", 0))
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name in trainable


def freeze_statistics(model: nn.Module) -> None:
    """Put BatchNorm layers that do not train into eval mode."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
            module.eval()


def loaders(model: nn.Module, root: Path, point: dict[str, Any]) -> tuple[DataLoader, DataLoader, torch.Tensor | None]:
    """Loaders of both splits, and class weights where the point asks for them."""
    wanted = timm.data.resolve_model_data_config(model)
    transform = transforms.Compose(
        [
            transforms.Resize((SIZE, SIZE)),
            transforms.ToTensor(),
            transforms.Normalize(wanted["mean"], wanted["std"]),
        ]
    )
    train, val = (ImageFolder(root / split, transform) for split in ("train", "val"))
    weights = None
    if point["balance"] == "loss":
        counts = torch.bincount(torch.tensor(train.targets))
        weights = len(train) / (len(counts) * counts.float())
    return DataLoader(train, batch_size=BATCH, shuffle=True), DataLoader(val, batch_size=128), weights


@torch.no_grad()
def validate(model: nn.Module, loader: DataLoader) -> float:
    """Macro-F1 on the validation split."""
    model.eval()
    predicted, labels = zip(*((model(images).argmax(dim=1), labels) for images, labels in loader), strict=True)
    return float(f1_score(torch.cat(labels), torch.cat(predicted), average="macro"))


if __name__ == "__main__":
    main()
