"""Write a picture as a PNG of at most 256 colours: a third of the size for charts."""

import struct
import zlib

import numpy as np


def palette(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Choose 256 colours for a picture.

    Arguments:
        pixels: (H, W, 3), uint8.

    Returns:
        The colours (N, 3), uint8, and for each pixel the index of its colour (H, W), uint8.
    """
    height, width, _ = pixels.shape
    flat = pixels.reshape(-1, 3).astype(np.int64)
    packed = (flat[:, 0] << 16) | (flat[:, 1] << 8) | flat[:, 2]
    packed, place, counts = np.unique(packed, return_inverse=True, return_counts=True)
    colours = np.stack([packed >> 16, (packed >> 8) & 255, packed & 255], axis=1)
    if len(colours) > 256:
        # The commonest exact colour of each coarse box, so that no shade is far from its own, and
        # the commonest colours of all, so that white, lines and letters stay as they are.
        for bits in range(3, 8):
            box = (colours >> bits) @ np.array([65536, 256, 1])
            order = np.lexsort((-counts, box))
            heads = order[np.unique(box[order], return_index=True)[1]]
            if len(heads) <= 200:
                break
        common = np.argsort(-counts, kind="stable")[: 256 - len(heads)]
        chosen = colours[np.union1d(heads, common)]
        # In pieces: all distances at once take hundreds of megabytes.
        nearest = [
            ((piece[:, None, :] - chosen[None, :, :]) ** 2).sum(-1).argmin(1)
            for piece in np.array_split(colours, len(colours) // 4096 + 1)
        ]
        colours, place = chosen, np.concatenate(nearest)[place]
    return colours.astype(np.uint8), place.reshape(height, width).astype(np.uint8)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def write(pixels: np.ndarray) -> bytes:
    """Encode a picture.

    Arguments:
        pixels: (H, W, 3), uint8.

    Returns:
        The bytes of an indexed PNG; the same picture always gives the same bytes.

    Raises:
        ValueError: if the picture has another shape or type.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(
            f"a picture has shape (H, W, 3) and type uint8; got {pixels.shape}, {pixels.dtype}; "
            "drop the alpha channel or convert it"
        )
    colours, index = palette(pixels)
    height, width = index.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), index], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"PLTE", colours.tobytes())
        + _chunk(b"IDAT", zlib.compress(rows, 9))
        + _chunk(b"IEND", b"")
    )
