#pragma once
// The three kinds of failure (and only these):
//   an answer   "does not fit", "infeasible": part of a result type, never thrown;
//   bad input   InputError: every diagnostic of the input, already rendered for a terminal (exit
//   code 2); a bug       ORRERY_CHECK: a broken invariant, never reachable from input (exit code
//   70).
#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace orrery {

class InputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Bug : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// A missing backend or environment: no GPU, no NCCL, a file system that refuses to write (exit code
// 3).
class EnvironmentError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

[[noreturn]] void fail_check(const char* file, int line, const char* condition,
                             const std::string& values);

}  // namespace orrery

// Checks an invariant and prints the values involved: ORRERY_CHECK(sum == layers, "sum {} layers
// {}", sum, layers);
#define ORRERY_CHECK(condition, ...)                                                  \
  do {                                                                                \
    if (!(condition))                                                                 \
      ::orrery::fail_check(__FILE__, __LINE__, #condition, fmt::format(__VA_ARGS__)); \
  } while (false)
