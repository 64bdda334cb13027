#include "core/error.hpp"

namespace orrery {

void fail_check(const char* file, int line, const char* condition, const std::string& values) {
  throw Bug(fmt::format("{}:{}: check failed: {} ({})", file, line, condition, values));
}

}  // namespace orrery
