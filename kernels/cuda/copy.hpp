#pragma once
// Copies in device memory: as fast as they go, for the ceiling that other kernels are measured
// against; and by a chosen number of blocks, each of which keeps an SM to itself, as the kernels of
// an expert-parallel exchange do (DeepSeek-V3 report, section 3.2.2: 20 SMs).
#include <cstddef>

#include "kernels/cuda/types.hpp"

namespace orrery::cuda {

// bytes is a multiple of 16. `blocks` 0: all of the device.
void copy(const void* from, void* to, std::size_t bytes, int blocks, Stream stream);

// By so many blocks, no faster than a link of `rate` bytes a second: stands in for an exchange
// whose other end is not there. All blocks last as long as the link would take; each moves a piece,
// at most 64 KiB, then waits until it is the next one's turn. What is longer than `room` bytes (a
// multiple of 64 KiB) goes round in them.
void paced_copy(const void* from, void* to, std::size_t bytes, int blocks, double rate,
                Stream stream, std::size_t room = ~std::size_t{0});

}  // namespace orrery::cuda
