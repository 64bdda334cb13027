#pragma once
// The parameters of a whole model and their gradients, put together from the parts that each rank
// of a run owns: what does not depend on the layout.
#include <map>
#include <string>
#include <vector>

#include "realrun/host_run.hpp"

namespace orrery {

// By name as in realrun/parameters.hpp, row by row; NaN where no rank owns an element.
using WholeTensors = std::map<std::string, std::vector<double>>;

// Gradients of the last step, before they are clipped.
template <class T>
WholeTensors whole_gradients(HostRun<T>& run);
template <class T>
WholeTensors whole_values(HostRun<T>& run);

// |a - b| / |b| in the Frobenius norm; |a - b| where b is 0; infinite where an element is missing
// or not a number.
double frobenius_error(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace orrery
