"""Learned policies in a PyTorch DataLoader; neither JAX nor this library is needed.

python -m aaa_jax policies RUN --format=pillow > policy.py    # a run on the digits
python -m examples.torch_policy policy.py --epochs=5
"""

import argparse
import importlib.util

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset


class Digits(Dataset):
    """The digits of scikit-learn as Pillow images, each under the transform."""

    def __init__(self, transform):
        """Takes a function of an image."""
        self.images, self.labels = load_digits(return_X_y=True)
        self.transform = transform

    def __len__(self):
        """How many there are."""
        return len(self.labels)

    def __getitem__(self, place):
        """Float [3, H, W] from 0 to 1, and the label."""
        picture = np.uint8(self.images[place].reshape(8, 8) * 15.9)
        image = self.transform(Image.fromarray(picture).convert("RGB"))
        array = np.asarray(image, np.float32) / 255
        return torch.from_numpy(array).permute(2, 0, 1), int(self.labels[place])


def main(command_line=None):
    """Train, and print the loss of each epoch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("policy", help="the file that aaa-jax policies wrote")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args(command_line)
    spec = importlib.util.spec_from_file_location("policy", chosen.policy)
    policy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(policy)
    height, width = policy.SIZE
    augment = policy.Policy()
    digits = Digits(lambda image: augment(image.resize((width, height))))
    torch.manual_seed(0)
    batches = DataLoader(digits, 64, shuffle=True, num_workers=chosen.workers)
    nn = torch.nn
    layers = [nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10)]
    network = nn.Sequential(*layers)
    network(digits[0][0][None])
    optimizer = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9)
    for epoch in range(chosen.epochs):
        losses = []
        for images, labels in batches:
            loss = nn.functional.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: loss {np.mean(losses):.3f}")


if __name__ == "__main__":
    main()
