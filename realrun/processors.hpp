#pragma once
// Processors of the machine that this process may use, and threads bound to one of them.
#include <span>
#include <vector>

namespace orrery {

// By number, ascending. Empty where the system does not say.
std::vector<int> allowed_processors();

// How many there are, at least 1.
int usable_cores();

// Binds the calling thread. Where the system refuses, the thread stays as it is.
void bind_to_processor(int processor);
void bind_to_processors(std::span<const int> processors);

}  // namespace orrery
