#pragma once
// Numbers as people read them.
#include <string>

#include "core/quantity.hpp"

namespace orrery {

std::string grouped(double value);         // 2664123.4 -> "2,664,123"
std::string compact_count(double value);   // 14.8e12 -> "14.8 T", 671.03e9 -> "671.03 B"
std::string money(Dollars amount);         // 5.328e6 -> "$5.328M"
std::string percent(double share);         // 0.3894 -> "38.94 %"
std::string signed_percent(double share);  // -0.0482 -> "-4.8 %"

// The unit in which the parts of a step are legible: s for GPUs, ms for miniatures.
struct TimeUnit {
  const char* name;
  Seconds time;
};
TimeUnit time_unit(Seconds longest);

// The unit in which a table of memory is legible: GiB for GPUs, MiB for miniatures.
struct MemoryUnit {
  const char* name;
  Bytes bytes;
};
MemoryUnit memory_unit(Bytes largest);

}  // namespace orrery
