#pragma once
// One bad input that belongs to no place in a file (a size, a name): rendered like every other
// diagnostic.
#include <string>

namespace orrery {

// Throws InputError. `message` is one sentence without a full stop; `hint` says what to do and may
// be empty.
[[noreturn]] void reject_input(std::string message, std::string hint = "");

}  // namespace orrery
