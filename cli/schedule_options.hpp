#pragma once
// What `orrery schedule` is asked for, and the times and limits that it stands for.
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "planner/schedules/request.hpp"
#include "planner/schedules/times.hpp"

namespace orrery::cli {

struct ScheduleOptions {
  std::string kind;
  std::string file;
  int pp = 0, microbatches = 0;  // 0: of the file
  int chunks = 0;                // a rank; 0: what the kind has
  std::string times = "F=1,I=1,W=1";
  std::string times_file;
  std::string p2p = "eager";
  double memory_limit = 0;  // shares of 1/pp of the activations; 0: not given
  bool search = false;
  long effort = 0;  // orders timed; 0: default_effort()
  std::uint64_t seed = 1;
  std::string compare;
  std::string output;
  bool draw = false;
  bool critical_path = false;
  bool json = false;
};

// The answer is no: the schedule is wrong, does not fit, or cannot be found.
class ScheduleFaults : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  // The first sentence alone.
  std::string reason() const {
    std::string text = what();
    text = text.substr(0, text.find('\n'));
    constexpr std::string_view kError = "error: ";
    return text.starts_with(kError) ? text.substr(kError.size()) : text;
  }
};

// Throws InputError with all that the options contradict each other in.
void check_options(const ScheduleOptions& options);

// Of the sizes and --times. Throws InputError where --times says no times.
ScheduleRequest request_of(const ScheduleOptions& options);

// Of --times, or of the file, whose limits go to `limits` (shares of 1/pp by rank).
CellTimes times_for(const ScheduleOptions& options, const Schedule& schedule,
                    std::optional<std::vector<double>>* limits = nullptr);

// Families that are made for given times are made for the means of those in a file.
ScheduleRequest request_for(const ScheduleOptions& options, const Schedule& placement,
                            const CellTimes& times,
                            const std::optional<std::vector<double>>& limits);

// Chunk activations by rank: of --memory-limit or the times file; none where neither says. Throws
// where not even one fits.
std::vector<int> given_limits(const ScheduleOptions& options, const Schedule& schedule,
                              const std::optional<std::vector<double>>& of_file);

}  // namespace orrery::cli
