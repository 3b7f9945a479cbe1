"""Train a ResNeXt in a plain PyTorch loop, on one device or several.

    KERAS_BACKEND=torch python examples/torch_loop.py
    KERAS_BACKEND=torch torchrun --nproc-per-node 2 examples/torch_loop.py

On the torch backend a Keras model is a `torch.nn.Module`. Keras does not
distribute training there yet; PyTorch's DistributedDataParallel does. Each of
the processes that torchrun starts takes its share of every batch.

The images are scikit-learn's digits; replace `load` with your own dataset.
"""

import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import sklearn.datasets
import torch
import torch.distributed as dist

import keras_resnext

EPOCHS, BATCH, LEARNING_RATE = 3, 64, 1e-3


def load() -> tuple[torch.Tensor, torch.Tensor]:
    """Return images, float32 of shape `(count, 32, 32, 3)`, and classes."""
    digits = sklearn.datasets.load_digits()
    pixels = torch.tensor(digits.images / 8 - 1, dtype=torch.float32)
    pixels = pixels.repeat_interleave(4, 1).repeat_interleave(4, 2)
    return pixels[..., None].expand(-1, -1, -1, 3), torch.tensor(digits.target)


def main() -> None:
    """Train, and measure on a fifth of the images."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if world > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    keras.utils.set_random_seed(0)

    model = keras_resnext.ResNeXt23s_4x32d(
        weights=None,
        classes=10,
        classifier_activation=None,
        input_shape=(32, 32, 3),
    ).to(device)
    module = model
    if world > 1:
        module = torch.nn.parallel.DistributedDataParallel(model)
    parameters = [v.value for v in model.trainable_variables]
    optimizer = torch.optim.AdamW(parameters, LEARNING_RATE)

    images, classes = load()
    order = torch.randperm(
        len(images), generator=torch.Generator().manual_seed(0)
    )
    test, train = order[::5], torch.cat([order[i::5] for i in range(1, 5)])
    share = BATCH // world
    for epoch in range(EPOCHS):
        # The same order in every process, of which each takes its rows.
        shuffled = train[
            torch.randperm(
                len(train), generator=torch.Generator().manual_seed(epoch)
            )
        ]
        total = 0.0
        batches = shuffled[: len(shuffled) // BATCH * BATCH].split(BATCH)
        for batch in batches:
            mine = batch[rank * share : (rank + 1) * share]
            optimizer.zero_grad()
            logits = module(images[mine].to(device), training=True)
            loss = torch.nn.functional.cross_entropy(
                logits, classes[mine].to(device)
            )
            loss.backward()
            optimizer.step()
            total += loss.item()
        with torch.no_grad():
            logits = model(images[test].to(device), training=False).cpu()
        accuracy = (logits.argmax(-1) == classes[test]).float().mean()
        if rank == 0:
            print(
                f"epoch {epoch + 1}/{EPOCHS}: loss {total / len(batches):.4f}, "
                f"accuracy {accuracy:.2%}"
            )
    if rank == 0:
        model.save("torch_loop.keras")
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
