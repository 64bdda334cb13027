#!/usr/bin/env python3
"""Turns a CUDA source into C++ that the host compiles (emulation.hpp).

    emulate.py FROM TO

Two things of it are no C++: launches, `kernel<<<blocks, threads, shared, stream>>>(arguments)`, and the one
instruction that reads the GPU's clock. A launch is told the kernel's own bound of threads besides, and shared
memory is announced where it is declared. Everything else is left as it is, line by line, so that a compiler's
message names the line of the source. Exit code 1 where a launch or a declaration is not understood.
"""

import pathlib
import re
import sys

LAUNCH = re.compile(r"([A-Za-z_]\w*)((?:<[^<>;{}]*>)?)<<<")
BOUND = re.compile(r"__launch_bounds__\(([^(),]+)[^()]*\)\s+(\w+)\(")
SHARED = re.compile(r"__shared__ [\w:]+(?: \w+)* (\w+(?:\[[^;]*\])?(?:, \w+(?:\[[^;,]*\])*)*);")
CLOCK = re.compile(r'asm volatile\("mov\.u64 %0, %globaltimer;" : "=l"\((\w+)\)\)')


def end_of_call(text, at):
    """The place of the parenthesis that closes the one before `at`."""
    depth = 1
    while depth:
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 1
    return at - 1


def announced(declaration):
    names = re.findall(r"(?:^|, )(\w+)", declaration.group(1))
    return declaration.group(0) + "".join(f" ::cuda_emulation::shared(&{name}, sizeof {name});" for name in names)


def emulated(text):
    bounds = {kernel: bound for bound, kernel in BOUND.findall(text)}
    if text.count("__shared__") != len(SHARED.findall(text)):
        raise ValueError("a declaration of shared memory that is not understood")
    text = SHARED.sub(announced, text)
    out, at = [], 0
    for launch in LAUNCH.finditer(text):
        where = text.index(">>>", launch.end())
        first = where + len(">>>")
        if text[first] != "(":
            raise ValueError(f"no arguments after {launch.group(0)}")
        last = end_of_call(text, first + 1)
        kernel = launch.group(1) + launch.group(2)
        out += [text[at:launch.start()], "::cuda_emulation::launch({", text[launch.end():where],
                "}, ", bounds.get(launch.group(1), "1024"), ", [=] { ", kernel, text[first:last + 1], "; })"]
        at = last + 1
    out.append(text[at:])
    text = CLOCK.sub(r"\1 = ::cuda_emulation::nanoseconds()", "".join(out))
    if "<<<" in text or "asm " in text:
        raise ValueError("a launch or an instruction that is not understood")
    return text


def main():
    source, target = map(pathlib.Path, sys.argv[1:])
    try:
        text = emulated(source.read_text())
    except (ValueError, IndexError) as error:
        sys.exit(f"{source}: {error}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(f'#line 1 "{source}"\n{text}')


main()
