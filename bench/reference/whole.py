"""The whole model of random weights, from ids or patches to unit vectors, on any device and in any dtype.

Letters as in layers.py; V images, all of one size, M merged tokens of one, W the values of a patch, F tokens around an image.
"""

import torch
from torch.nn.functional import normalize

from layers import decoder_block, merger, rms_norm, rotary_tables, vision_block
from weights import decoder_layer, merger_weights, vision_layer

FRAME = 11  # tokens of text around an image, with the published tokenizer
PATCH = 1176  # values of a patch: 2 frames x 3 channels x 14 x 14
WINDOW = 8  # patches of the side of a window


def there(p, like):
    """A layer's tensors, moved at once: in two copies of all of them the large geometries would not fit."""
    return {name: value.to(like) for name, value in p.items()}


def random_decoder(g, like):
    """like: a tensor of the device and dtype of the weights."""
    return {
        "layers": [there(decoder_layer(g), like) for _ in range(g["layers"])],
        "norm": torch.ones(g["hidden"]).to(like),
    }


def random_tower(g, like):
    v = g["vision"]
    return {
        "embed": (torch.randn(v["hidden"], PATCH) / PATCH**0.5).to(like),
        "layers": [there(vision_layer(v), like) for _ in range(v["depth"])],
        "merger": there(merger_weights(g), like),
    }


def decode(decoder, x, first, last, g):
    """All blocks, final norm, the mean of tokens first to last.   x: [B, T, D] -> [B, D], unit length"""
    tables = rotary_tables(torch.arange(x.shape[1]), g["hidden"] // g["heads"], g["theta"])
    cos, sin = (t.to(x) for t in tables)
    for layer in decoder["layers"]:
        x = decoder_block(layer, x, cos, sin, g)
    return normalize(rms_norm(x, decoder["norm"])[:, first:last].mean(1), dim=-1)


def see(tower, pixels, images, rows, columns, g):
    """pixels: [V P, W], rows x columns patches an image -> [V, M, D]

    Patches stay in one order: sorting them into windows costs next to nothing, and of random ones any is as good.
    """
    v = g["vision"]
    patches = rows * columns
    windows, whole = windows_of(images, rows, columns), [(images, patches)]
    tables = rotary_tables(torch.arange(patches).repeat(images), v["hidden"] // v["heads"], 10000.0)
    cos, sin = (t.to(pixels) for t in tables)
    x = pixels @ tower["embed"].T
    for i, layer in enumerate(tower["layers"]):
        x = vision_block(layer, x, cos, sin, v["heads"], whole if i in v["fullatt"] else windows)
    return merger(tower["merger"], x).view(images, patches // 4, g["hidden"])


def around(seen, frame):
    """The text before and after every image.   seen: [V, M, D], frame: [F, D] -> [V, M + F, D]"""
    frame = frame.expand(len(seen), -1, -1)
    return torch.cat([frame[:, :5], seen, frame[:, 5:]], 1)


def windows_of(images, rows, columns):
    """(count, length) of windows alike: in window order these are neighbours, those at the edges shorter."""
    down = [(rows // WINDOW, WINDOW), (1, rows % WINDOW)]
    across = [(columns // WINDOW, WINDOW), (1, columns % WINDOW)]
    runs = [(images * n * m, height * width) for n, height in down for m, width in across]
    return [(count, length) for count, length in runs if count * length > 0]
