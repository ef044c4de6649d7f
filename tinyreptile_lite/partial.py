"""Partial and selective updates, as in TinyMetaFed: rebuild the head, step the body, send a part.

This is our reading of the abstract of Ren, Li, Anicic and Runkler (TinyMetaFed, arXiv 2307.06822),
whose code is not public: phi has a body that all share and a head that is each device's own. A
device first rebuilds the head online with the body frozen, then steps the body with the head
frozen (as in Federated Reconstruction, Singhal et al. 2021, arXiv 2102.03448), and sends the P
percent of the changes that are largest; the server moves only those.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinyreptile_lite import packing
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.learners import Learned, check_rate
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks.base import Samples

Array = np.ndarray
WHOLE = 32  # bits: the weights themselves are sent, in float32


@dataclass(frozen=True)
class PartialSGD:
    """Online steps of the head alone, then of the body alone; a part of the changes is sent.

    With no samples for the head, all layers step with every sample, as in `OnlineSGD`. What it
    returns are the parameters as they are at the server: those it was given, plus what is sent.

    Parameters
    ----------
    rate : float
        Inner learning rate; of the body, if the head has steps of its own.
    head_samples : int, default 0
        The first so many samples rebuild the head, with the body frozen; with the others the body
        steps, with the head frozen.
    head_rate : float, optional
        Inner learning rate of the head; by default that of the body.
    bits : int, default 32
        Of each change that is sent: 8, or 16. With 32 the device gets and sends all weights as they
        are; otherwise it gets phi in float16 and keeps that, to know what has changed.
    percent : float, default 100
        How many of the changes are sent: the largest.
    send_head : bool, default True
        Whether the changes of the head are sent as well, if they are among the largest.
    feedback : bool, default False
        Whether the device keeps what was not sent, and adds it to the changes of its next visit
        (error feedback, Seide et al. 2014). That takes memory as large as the weights.
    """

    rate: float
    head_samples: int = 0
    head_rate: float = 0.0
    bits: int = WHOLE
    percent: float = packing.ALL
    send_head: bool = True
    feedback: bool = False
    memoryless: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_rate(self.rate)
        if self.head_samples < 0:
            raise KitError(f"{self.head_samples} samples for the head; give 0 or more")
        if self.head_rate:
            check_rate(self.head_rate)
        if self.bits != WHOLE:
            packing.check_packing(self.percent, self.bits)
        elif self.percent != packing.ALL or not self.send_head or self.feedback:
            raise KitError("a part of the weights cannot be sent in 32 bits; give 8 or 16 bits")

    @property
    def weight_buffers(self) -> float:
        """Phi in float16, if changes are sent; with error feedback also what was not sent."""
        return (0.5 if self.bits != WHOLE else 0.0) + self.feedback

    def learn(
        self, net: Network, params: Array, samples: Samples, rng: np.random.Generator
    ) -> Learned:
        """Make one step for each sample; ``rng`` seeds the rounding to 8 bits.

        Raises as `Network.loss` does, or if phi does not fit into float16. It has no memory of
        earlier visits: for error feedback see `learn_and_keep`.
        """
        return self.learn_and_keep(net, params, samples, rng, None)[0]

    def learn_and_keep(
        self,
        net: Network,
        params: Array,
        samples: Samples,
        rng: np.random.Generator,
        kept: Array | None,
    ) -> tuple[Learned, Array | None]:
        """Learn as a device does that keeps what it has not sent.

        Parameters
        ----------
        net, params, samples, rng
            As in `learn`; one task, no task axis, if anything is kept.
        kept : ndarray of float32, shape (P,), optional
            What was not sent at the last visit.

        Returns
        -------
        learned : Learned
        kept : ndarray of float32, shape (P,), or None
            What is not sent now; None without error feedback.
        """
        if self.bits == WHOLE:
            return self.steps_of(net, params, samples), None
        start = packing.halved(params)
        learned = self.steps_of(net, start, samples)
        change = learned.params - start
        if self.feedback and kept is not None:
            change += kept
        tasks = change.reshape(-1, net.size)
        limit = self.limit(net)
        seeds = rng.integers(2**32, size=len(tasks)).tolist()
        phi = np.broadcast_to(params, change.shape).reshape(tasks.shape)
        result = np.empty_like(tasks)
        for row, (one, seed) in enumerate(zip(tasks, seeds, strict=True)):
            if not np.isfinite(one).all():  # it diverged: the round loop refuses this
                result[row], one[:] = np.nan, 0
                continue
            sent = packing.selected(one[:limit], self.percent, self.bits, seed)
            result[row] = sent.added_to(phi[row])
            one[sent.at] -= sent.values
            one[limit:] = 0  # a head that is never sent is not kept either
        left = change if self.feedback else None  # `tasks` is a view of it
        return Learned(result.reshape(change.shape), learned.loss), left

    def limit(self, net: Network) -> int:
        """How many weights, from the first, may have their changes sent; `KitError` if none."""
        if self.send_head or net.head.start:
            return net.size if self.send_head else net.head.start
        raise KitError("this network is all head, and nothing of it is sent; set send_head to True")

    def check_parts(self, net: Network) -> None:
        """Raise `KitError` if the body shall step and there is none."""
        if self.head_samples and net.head.start == 0:
            raise KitError(
                "this network is all head: there is no body to step; set head_samples to 0"
            )

    def steps_of(self, net: Network, params: Array, samples: Samples) -> Learned:
        """Make the steps of a visit, before anything is packed: all the learning there is."""
        samples = Samples(*net.check_samples(params, *samples))
        self.check_parts(net)
        head = net.head
        params = params.copy()
        step = np.empty_like(params)
        bound = net.bind(params, step)
        outputs = []
        for i in range(samples.y.shape[params.ndim - 1]):
            at = (slice(None),) * (params.ndim - 1) + (slice(i, i + 1),)
            for_head = i < self.head_samples
            rate = (self.head_rate or self.rate) if for_head else self.rate
            outputs.append(net.backward(bound, samples.x[at], samples.y[at], rate))
            if for_head:
                step[..., : head.start] = 0
            elif self.head_samples:
                step[..., head] = 0
            params -= step
        output = np.concatenate(outputs, axis=params.ndim - 1)
        return Learned(params, net.loss_function.value(output, samples.y))

    def steps(self, sample_count: int) -> int:
        """One for each sample."""
        return sample_count

    def kept_samples(self, sample_count: int) -> int:
        """Only the one that just arrived."""
        return 1
