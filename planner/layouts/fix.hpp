#pragma once
// A space with some of its dimensions fixed, as `--fix pp=16,ep=64` says.
#include <string>

#include "planner/layouts/space.hpp"

namespace orrery {

// Every dimension that `text` or `over` sets has that one value, `over` before `text`: the keys of
// a layout (core/layout_check.hpp) but dp, and `schedule`. Throws InputError for what is malformed
// or not a dimension, and for comm-sms=0, which is a what-if.
void fix_dimensions(LayoutSpace& space, const std::string& text, const std::string& over = "");

}  // namespace orrery
