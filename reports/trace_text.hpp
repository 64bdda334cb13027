#pragma once
// The parts of a Chrome trace's events as text: times, names, sizes.
#include <cstdint>
#include <string>
#include <string_view>

#include "core/program.hpp"
#include "core/quantity.hpp"
#include "core/schedule.hpp"

namespace orrery {

using Nanoseconds = std::int64_t;

// A bug where it is negative or does not fit.
Nanoseconds to_nanoseconds(Seconds time);

// As microseconds, the unit of the format, from the integer.
std::string microseconds_text(Nanoseconds time);

// In quotes, escaped.
std::string json_string(std::string_view text);

// What all instructions of one Work say alike.
struct WorkText {
  std::string head;   // "name":"attn(F)","cat":"attention"
  std::string sizes;  // of a transfer, MB, with a leading comma
};
WorkText describe_work(const Work& work);

// "F 3", "F&B 4|2".
std::string cell_name(const Cell& cell);

}  // namespace orrery
