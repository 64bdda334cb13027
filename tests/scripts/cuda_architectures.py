#!/usr/bin/env python3
"""Every CUDA source of a program is compiled for all of some architectures.

  cuda_architectures.py PROGRAM ARCHITECTURE ...

Lists what `cuobjdump --list-elf` does, which not every toolkit has. A fat binary begins with a magic
number, two bytes of version, two of its header's size and eight of the size of the entries that
follow; an entry has its kind (2: machine code), its header's size at 4, the size of its contents at
8 and its architecture at 28."""
import collections
import struct
import sys
from pathlib import Path

MAGIC = struct.pack("<I", 0xBA55ED50)
MACHINE_CODE = 2


def architectures(data):
    """How many pieces of machine code there are for each."""
    counts = collections.Counter()
    start = data.find(MAGIC)
    while start >= 0:
        header_size, size = struct.unpack_from("<HQ", data, start + 6)
        at, end = start + header_size, start + header_size + size
        while at < end:
            kind, _, entry_header, contents = struct.unpack_from("<HHIQ", data, at)
            if kind == MACHINE_CODE:
                counts[struct.unpack_from("<I", data, at + 28)[0]] += 1
            at += entry_header + contents
        start = data.find(MAGIC, end)
    return counts


def main():
    found = architectures(Path(sys.argv[1]).read_bytes())
    print(", ".join(f"sm_{name}: {count}" for name, count in sorted(found.items())))
    wanted = [int(name) for name in sys.argv[2:]]
    complete = bool(found) and all(found[name] == max(found.values()) for name in wanted)
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
