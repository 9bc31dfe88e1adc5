"""Files in MNIST's IDX format: are they whole, and are they the ones that they are called?"""

import gzip
import hashlib
import struct
from pathlib import Path

# SHA-256 of the four unpacked files of MNIST.
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
NUM_IMAGES = {"train": 60_000, "t10k": 10_000}


def check_idx_file(path: Path, dataset: str, packed_md5: str) -> None:
    """Refuse a file that is not the dataset's.

    MNIST is known by its checksum. The others are known by the checksum of the packed file that torchvision keeps
    beside the unpacked one; without it only the header and the length can be checked.

    Args:
        path: the unpacked file.
        dataset: "mnist", "fashion-mnist" or "kmnist".
        packed_md5: MD5 of the .gz that it came in.

    Raises:
        ValueError: a file that is cut short, damaged, or another one under this name.
    """
    content = path.read_bytes()
    remedy = f"Delete {path} and run again to download it anew, or copy a good one there."
    expected = _expected_length(path.name)
    if len(content) != expected:
        raise ValueError(f"{path.name} of {dataset}: got {len(content)} bytes, expected {expected}. {remedy}")
    _check_header(path.name, content, dataset, remedy)

    checksum = hashlib.sha256(content).hexdigest()
    packed = path.with_name(path.name + ".gz")
    if dataset == "mnist":
        whole = checksum == MNIST_SHA256[path.name]
    elif packed.is_file():
        packed_content = packed.read_bytes()
        whole = hashlib.md5(packed_content).hexdigest() == packed_md5 and gzip.decompress(packed_content) == content
    else:
        whole = checksum not in MNIST_SHA256.values()
    if not whole:
        raise ValueError(f"{path.name} of {dataset}: the checksum is wrong (SHA-256 {checksum}). {remedy}")


def _expected_length(name: str) -> int:
    count = NUM_IMAGES[name.split("-")[0]]
    return 16 + count * 28 * 28 if "images" in name else 8 + count


def _check_header(name: str, content: bytes, dataset: str, remedy: str) -> None:
    """Magic number 0x0000 08 (unsigned bytes) 03 or 01 (dimensions), then one big-endian length per dimension."""
    count = NUM_IMAGES[name.split("-")[0]]
    expected = (0x803, count, 28, 28) if "images" in name else (0x801, count)
    header = struct.unpack(f">{len(expected)}i", content[: 4 * len(expected)])
    if header != expected:
        raise ValueError(f"{name} of {dataset}: got the header {header}, expected {expected}. {remedy}")
