#include "realrun/processors.hpp"

#include <sched.h>

#include <algorithm>
#include <thread>

namespace orrery {
namespace {

thread_local int bound_processor = -1;  // -1: none

}  // namespace

std::vector<int> allowed_processors() {
  std::vector<int> processors;
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return processors;
  for (int processor = 0; processor < CPU_SETSIZE; ++processor) {
    if (CPU_ISSET(processor, &allowed)) processors.push_back(processor);
  }
  return processors;
}

int usable_cores() {
  const std::size_t allowed = allowed_processors().size();
  const std::size_t cores = allowed > 0 ? allowed : std::thread::hardware_concurrency();
  return std::max(1, static_cast<int>(cores));
}

void bind_to_processor(int processor) {
  if (processor == bound_processor) return;
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(processor, &only);
  if (sched_setaffinity(0, sizeof only, &only) == 0) bound_processor = processor;
}

void bind_to_processors(std::span<const int> processors) {
  cpu_set_t these;
  CPU_ZERO(&these);
  for (const int processor : processors) CPU_SET(processor, &these);
  if (sched_setaffinity(0, sizeof these, &these) == 0) bound_processor = -1;
}

}  // namespace orrery
