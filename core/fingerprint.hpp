#pragma once
// A hash of everything that decides what is carried out (work, order, dependencies, transfers,
// buffers); amounts to nine digits, so that it does not depend on a compiler's last bit.
#include <string>

namespace orrery {

struct Program;

std::string fingerprint(const Program& program);

}  // namespace orrery
