"""Keras layers in NumPy float64, following their documentation, for a single example."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def simple_rnn(x, kernel, recurrent_kernel, bias):
    """Return the hidden states (steps, hidden) of one example (steps, inputs)."""
    hidden, states = np.zeros(len(recurrent_kernel)), []
    for step in x:
        hidden = np.tanh(step @ kernel + bias + hidden @ recurrent_kernel)
        states.append(hidden)
    return np.array(states)


def lstm(x, kernel, recurrent_kernel, bias):
    hidden, states = np.zeros(len(recurrent_kernel)), []
    cell = np.zeros(len(recurrent_kernel))
    for step in x:
        i, f, c, o = np.split(step @ kernel + bias + hidden @ recurrent_kernel, 4)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(c)
        hidden = sigmoid(o) * np.tanh(cell)
        states.append(hidden)
    return np.array(states)


def gru(x, kernel, recurrent_kernel, bias):
    """Return the hidden states of a GRU with reset_after=False."""
    size = len(recurrent_kernel)
    hidden, states = np.zeros(size), []
    for step in x:
        x_z, x_r, x_h = np.split(step @ kernel + bias, 3)
        z = sigmoid(x_z + hidden @ recurrent_kernel[:, :size])
        r = sigmoid(x_r + hidden @ recurrent_kernel[:, size : 2 * size])
        candidate = np.tanh(x_h + (r * hidden) @ recurrent_kernel[:, 2 * size :])
        hidden = z * hidden + (1 - z) * candidate
        states.append(hidden)
    return np.array(states)


LAYERS = {"rnn": (1, simple_rnn), "lstm": (4, lstm), "gru": (3, gru)}


def convolution(x, kernel, bias, stride):
    """Convolve (height, width, channels) and (height, width, channels, filters) without padding."""
    rows, columns = kernel.shape[:2]
    height, width = (x.shape[0] - rows) // stride + 1, (x.shape[1] - columns) // stride + 1
    result = np.zeros((height, width, kernel.shape[3]))
    for i in range(height):
        for j in range(width):
            patch = x[i * stride : i * stride + rows, j * stride : j * stride + columns]
            result[i, j] = np.tensordot(patch, kernel, 3) + bias
    return result


def max_pool(x, size):
    """Return the maxima of adjacent windows; incomplete windows are ignored."""
    height, width = x.shape[0] // size, x.shape[1] // size
    x = x[: height * size, : width * size]
    return x.reshape(height, size, width, size, -1).max((1, 3))
