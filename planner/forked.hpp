#pragma once
// Work in child processes. SimGrid keeps one clock a process, which is never set back: a simulation
// in a process of its own has the same bits whatever was simulated before, and several run at once.
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace orrery {

// The results of work(0) to work(count - 1), each from a child, `at_once` of them at a time. Throws
// InputError with the message of a child's InputError, EnvironmentError where a child cannot be
// started or is killed.
std::vector<std::string> in_children(std::size_t count, std::size_t at_once,
                                     const std::function<std::string(std::size_t)>& work);

}  // namespace orrery
