#pragma once
// Processes that look for the same answer together: each works off its part and tells the others.
// All have the same input and call share() equally often, so that all know the same at any time.
#include <string>
#include <vector>

namespace orrery {

class Crew {
 public:
  Crew() = default;
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;
  virtual ~Crew() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Everyone's, by rank. A process that is lost ends all others with an error.
  virtual std::vector<std::string> share(const std::string& own) = 0;

  // The process that works off the part with this number.
  std::size_t owner(std::size_t number) const { return number % static_cast<std::size_t>(size()); }
  bool mine(std::size_t number) const { return owner(number) == static_cast<std::size_t>(rank()); }
};

}  // namespace orrery
