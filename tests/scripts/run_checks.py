"""What the scripts that carry plans out have in common."""

import re

import scratch

# A step as `orrery realrun` prints it: its number, two losses, the gradient's norm.
LINE = re.compile(r"^ +(\d+) +(\d+\.\d+) +(\d+\.\d+) +(\d+\.\d+) ", re.MULTILINE)


class Failure(Exception):
    pass


def expect(condition: bool, what: str) -> None:
    if not condition:
        raise Failure(what)


def mpi_environment(**extra: str) -> dict[str, str]:
    """Open MPI starts processes as any user, and without system calls that sandboxes refuse."""
    return scratch.environment(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                               OMPI_MCA_btl_vader_single_copy_mechanism="none", **extra)
