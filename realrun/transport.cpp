#include "realrun/transport.hpp"

#include "core/error.hpp"

namespace orrery {

namespace {

constexpr std::int64_t kGatherSizes = -1;
constexpr std::int64_t kGatherBlobs = -2;

}  // namespace

Ticket Transport::post_group(const GroupCall& call) {
  ORRERY_CHECK(false, "no calls of groups by this transport: {}", call.label);
}

void finish(Transport& transport, std::span<const Ticket> tickets) try {
  std::vector<Ticket> open(tickets.begin(), tickets.end());
  for (;;) {
    const std::uint64_t seen = transport.events();
    std::erase_if(open, [&](Ticket ticket) {
      const bool done = transport.done(ticket);
      if (done) transport.release(ticket);
      return done;
    });
    if (open.empty()) return;
    if (transport.movable_bytes() > 0) {
      transport.move();
    } else {
      transport.wait(seen);
    }
  }
} catch (const TransportError& error) {
  transport.abort(error.what());
  throw;
}

std::vector<std::vector<std::byte>> gather(Transport& transport, std::span<const std::byte> own) {
  const std::uint64_t own_size = own.size();
  if (transport.rank() != 0) {
    const Ticket tickets[] = {
        transport.post_send(0, kGatherSizes, std::as_bytes(std::span(&own_size, 1)), "gather"),
        transport.post_send(0, kGatherBlobs, own, "gather")};
    finish(transport, tickets);
    return {};
  }
  const auto ranks = static_cast<std::size_t>(transport.size());
  std::vector<std::uint64_t> sizes(ranks);
  std::vector<Ticket> tickets;
  for (int rank = 1; rank < transport.size(); ++rank) {
    const std::span size(&sizes[static_cast<std::size_t>(rank)], 1);
    tickets.push_back(
        transport.post_receive(rank, kGatherSizes, std::as_writable_bytes(size), "gather"));
  }
  finish(transport, tickets);

  std::vector<std::vector<std::byte>> blobs(ranks);
  blobs[0].assign(own.begin(), own.end());
  tickets.clear();
  for (int rank = 1; rank < transport.size(); ++rank) {
    std::vector<std::byte>& blob = blobs[static_cast<std::size_t>(rank)];
    blob.resize(sizes[static_cast<std::size_t>(rank)]);
    tickets.push_back(transport.post_receive(rank, kGatherBlobs, blob, "gather"));
  }
  finish(transport, tickets);
  return blobs;
}

}  // namespace orrery
