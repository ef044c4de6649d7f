"""Losses: each gives the loss of every task, and its gradient with respect to the output.

The gradient can be scaled: an SGD step is ``rate * gradient``, and it is cheaper to scale the few
numbers at the output than all the weights.
"""

import numpy as np

from tinyreptile_lite.errors import KitError, unknown_name

Array = np.ndarray


class MeanSquaredError:
    """Mean over samples and outputs of ``(output - y)**2``; targets are (..., N, outputs)."""

    name = "mse"

    def value(self, output: Array, y: Array) -> Array:
        return np.square(output - y).mean(axis=(-2, -1))

    def gradient(self, output: Array, y: Array, scale: float = 1.0) -> Array:
        dy = output - y
        dy *= 2 * scale / (y.shape[-2] * y.shape[-1])
        return dy

    def check(self, y: Array, samples: tuple[int, ...], outputs: int) -> Array:
        y = np.asarray(y, dtype=np.float32)
        if y.shape != (*samples, outputs):
            raise KitError(
                f"targets have shape {y.shape}; this network needs {(*samples, outputs)}"
            )
        if not np.isfinite(y).all():
            raise KitError("targets hold NaN or infinite values; remove those samples")
        return y


class CrossEntropy:
    """Mean over samples of ``-log softmax(output)[label]``; labels are integers (..., N)."""

    name = "cross_entropy"

    def value(self, output: Array, y: Array) -> Array:
        shifted = output - output.max(axis=-1, keepdims=True)
        log_sum = np.log(np.exp(shifted).sum(axis=-1))
        return (log_sum - np.take_along_axis(shifted, y[..., None], -1)[..., 0]).mean(axis=-1)

    def gradient(self, output: Array, y: Array, scale: float = 1.0) -> Array:
        softmax = np.exp(output - output.max(axis=-1, keepdims=True))
        softmax /= softmax.sum(axis=-1, keepdims=True)
        one_hot = y[..., None] == np.arange(output.shape[-1])
        return (softmax - one_hot) * (scale / y.shape[-1])

    def check(self, y: Array, samples: tuple[int, ...], outputs: int) -> Array:
        y = np.asarray(y)
        if y.shape != samples or not np.issubdtype(y.dtype, np.integer):
            raise KitError(
                f"labels have shape {y.shape} and type {y.dtype}; "
                f"this network needs whole numbers of shape {samples}"
            )
        if y.size and (y.min() < 0 or y.max() >= outputs):
            wrong = y.min() if y.min() < 0 else y.max()
            raise KitError(f"label {wrong} is out of range; this network knows 0 to {outputs - 1}")
        return y


Loss = MeanSquaredError | CrossEntropy
LOSSES: dict[str, Loss] = {loss.name: loss for loss in (MeanSquaredError(), CrossEntropy())}


def find_loss(name: str) -> Loss:
    """Look a loss up by name; raises `KitError` that lists the known ones."""
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    return LOSSES[name]
