"""TinyReptile on one page: all of it in plain NumPy, with no import from the kit.

Many devices want to learn, each its own task. In each round the server sends its weights, phi, to
one device. The device learns online: it takes one sample, makes one small step, forgets the sample,
takes the next. It sends back what it has become, and the server moves a little towards it; less
and less as the rounds go by. In the end phi is no good model for anybody, but from it a new device
gets to its own model in a few samples. (Our reading of Ren, Anicic and Runkler, IJCNN 2023.)

    python -m tinyreptile_lite.tinyreptile

The rest of the kit does the same with any network, strategy, device and board. Tests hold both to
the same numbers.
"""

import itertools

import numpy as np

SIZES = 1, 32, 32, 1  # a network with two layers of 32 tanh units between input and output


def start(rng):
    """Draw random weights and biases for each layer."""
    phi = []
    for inputs, outputs in itertools.pairwise(SIZES):
        shapes = (inputs, outputs), (1, outputs)
        phi.append([np.float32(rng.uniform(-1, 1, one) / np.sqrt(inputs)) for one in shapes])
    return phi


def forward(phi, x):
    """What each layer makes of one sample; the first entry is the input, the last the output."""
    values = [np.float32(0.4) * x]  # inputs from -5 to 5 become -2 to 2
    for weight, bias in phi[:-1]:
        values.append(np.tanh(values[-1] @ weight + bias))
    return [*values, values[-1] @ phi[-1][0] + phi[-1][1]]


def online_step(phi, x, y, rate):
    """One sample, one step: weights -= rate * gradient of (output - y) ** 2."""
    *values, output = forward(phi, x)
    delta = (output - y) * np.float32(2 * rate)  # rate * gradient of what a layer puts out
    for (weight, bias), value in zip(phi[::-1], values[::-1], strict=True):
        back = delta @ weight.T
        weight -= value.T @ delta
        bias -= delta
        delta = back - back * value * value  # through tanh to the layer before


def visit(phi, samples, rate):
    """One device learns from its stream, beginning with phi; phi itself stays as it is."""
    phi_hat = [(weight.copy(), bias.copy()) for weight, bias in phi]
    for x, y in samples:
        online_step(phi_hat, x, y, rate)
    return phi_hat


def tinyreptile(devices, rounds, rng, rate=0.019):
    """In each round one device learns, and phi moves towards what it has learned.

    A device is a function: given a random generator, it returns the samples of one visit.
    """
    phi = start(rng)
    for done in range(rounds):
        device = devices[rng.integers(len(devices))]
        phi_hat = visit(phi, device(np.random.default_rng(rng.integers(2**32))), rate)
        outer_rate = np.float32(1 - done / rounds)  # from 1 down to 0
        for layer, learned in zip(phi, phi_hat, strict=True):
            for here, there in zip(layer, learned, strict=True):
                here += outer_rate * (there - here)
    return phi


# All of it was above. What follows is a task to try it on: each device has a sine wave of its own.


def sine(amplitude, phase, count=32):
    """A device whose samples are points of its wave; x and y are arrays of shape (1, 1)."""

    def stream(rng):
        x = rng.uniform(-5, 5, (count, 1, 1)).astype(np.float32)
        return zip(x, (amplitude * np.sin(x + phase)).astype(np.float32), strict=True)

    return stream


def main(rounds=3000):
    """Train on a thousand waves, then let waves never seen adapt, from phi and from random."""
    rng = np.random.default_rng(0)
    waves = [(rng.uniform(0.1, 5), rng.uniform(0, 2 * np.pi)) for _ in range(1100)]
    phi = tinyreptile([sine(*wave) for wave in waves[:1000]], rounds, rng)
    x = np.linspace(-5, 5, 101, dtype=np.float32)[:, None]
    print("mean squared error on 100 new waves   from phi   from random weights")
    for count in (0, 8, 32):
        errors = []
        for amplitude, phase in waves[1000:]:
            for origin in (phi, start(rng)):
                adapted = visit(origin, sine(amplitude, phase, count)(rng), rate=0.019)
                error = forward(adapted, x)[-1] - amplitude * np.sin(x + phase)
                errors.append(np.mean(error**2))
        from_phi, from_random = np.reshape(errors, (-1, 2)).mean(axis=0)
        print(f"after {count:2} samples of its own {from_phi:19.2f} {from_random:21.2f}")


if __name__ == "__main__":
    main()
