#include "realrun/transport_crew.hpp"

#include <cstring>

namespace orrery {

std::vector<std::string> TransportCrew::share(const std::string& own) {
  const auto ranks = static_cast<std::size_t>(size());
  const std::int64_t sizes_tag = 2 * calls_, texts_tag = 2 * calls_ + 1;
  ++calls_;
  const std::uint64_t own_size = own.size();
  std::vector<std::uint64_t> sizes(ranks, own_size);
  std::vector<Ticket> tickets;
  const auto others = [&](auto each) {
    for (int other = 0; other < size(); ++other) {
      if (other != rank()) each(other, static_cast<std::size_t>(other));
    }
  };
  others([&](int other, std::size_t at) {
    tickets.push_back(
        transport_.post_send(other, sizes_tag, std::as_bytes(std::span(&own_size, 1)), "sizes"));
    tickets.push_back(transport_.post_receive(
        other, sizes_tag, std::as_writable_bytes(std::span(&sizes[at], 1)), "sizes"));
  });
  finish(transport_, tickets);

  std::vector<std::string> all(ranks);
  tickets.clear();
  others([&](int other, std::size_t at) {
    all[at].resize(sizes[at]);
    tickets.push_back(
        transport_.post_send(other, texts_tag, std::as_bytes(std::span(own)), "findings"));
    tickets.push_back(transport_.post_receive(
        other, texts_tag, std::as_writable_bytes(std::span(all[at])), "findings"));
  });
  finish(transport_, tickets);
  all[static_cast<std::size_t>(rank())] = own;
  return all;
}

}  // namespace orrery
