#include "planner/reject_input.hpp"

#include <utility>

#include "core/diagnostic.hpp"
#include "core/error.hpp"

namespace orrery {

void reject_input(std::string message, std::string hint) {
  Diagnostics diagnostics;
  diagnostics.error({}, std::move(message), std::move(hint));
  throw InputError(diagnostics.render());
}

}  // namespace orrery
