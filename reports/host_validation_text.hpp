#pragma once
#include <string>

#include "realrun/host_validation.hpp"

namespace orrery {

// The table of `orrery validate --suite host`, and the same as JSON.
std::string host_validation_text(const HostValidation& validation);
std::string host_validation_json(const HostValidation& validation, double wall_s);

}  // namespace orrery
