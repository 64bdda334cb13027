#pragma once
// Waiting by the device itself, without the host: one thread that reads the GPU's own clock of
// nanoseconds and sleeps in between, on no SM that anything else needs. For replays: what another
// GPU would send is there so long after something here has ended.
//
// By kernels and not by the host: a host function or a flag that the host writes opens tens of
// microseconds late, and differently each time.
#include <cstdint>

#include "kernels/cuda/types.hpp"

namespace orrery::cuda {

// Writes the time to *at, in device memory. A few microseconds of the stream.
void stamp(std::uint64_t* at, Stream stream);
// The stream goes on `nanoseconds` after *from; the stamp was written before (an event between the
// streams sees to it).
void wait_after(const std::uint64_t* from, std::uint64_t nanoseconds, Stream stream);
// The stream does nothing for so long.
void hold(std::uint64_t nanoseconds, Stream stream);

}  // namespace orrery::cuda
