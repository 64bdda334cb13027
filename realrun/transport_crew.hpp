#pragma once
// The processes of a search over a transport (planner/layouts/crew.hpp).
#include <memory>

#include "planner/layouts/crew.hpp"
#include "realrun/transport.hpp"

namespace orrery {

class TransportCrew : public Crew {
 public:
  // `transport` must outlive it.
  explicit TransportCrew(Transport& transport) : transport_(transport) {}
  int rank() const override { return transport_.rank(); }
  int size() const override { return transport_.size(); }
  // Throws Aborted where another process has given up.
  std::vector<std::string> share(const std::string& own) override;

 private:
  Transport& transport_;
  std::int64_t calls_ = 0;  // numbers the messages
};

}  // namespace orrery
