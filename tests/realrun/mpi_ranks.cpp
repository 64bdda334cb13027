// The checks of every transport over MPI, one process a rank: mpirun -np 4 mpi_ranks. Exits with 0
// if all ranks pass, 1 with a message where one does not, 77 where this build has no MPI.
#include <cstdio>

#include "core/error.hpp"
#include "realrun/mpi_transport.hpp"
#include "tests/realrun/rank_checks.hpp"

namespace orrery {
namespace {

// More than one piece of the channel's payloads (64 MiB).
void check_large(Transport& transport) {
  if (transport.rank() > 1) return;
  constexpr std::size_t kBytes = (std::size_t{129} << 20) + 3;
  std::vector<std::byte> bytes = random_bytes(5, transport.rank() == 0 ? kBytes : 0);
  bytes.resize(kBytes);
  const Ticket ticket = transport.rank() == 0 ? transport.post_send(1, 3, bytes)
                                              : transport.post_receive(0, 3, bytes);
  finish(transport, std::span(&ticket, 1));
  expect(bytes == random_bytes(5, kBytes), "a large message arrived changed");
}

// Each rank in turn asks the others the time: no answer may lie before its question or after the
// moment it came.
void check_clock(Transport& transport) {
  const auto exchange = [&](int target, int source, double own) {
    double other = 0;
    const Ticket tickets[] = {
        transport.post_send(target, 9, std::as_bytes(std::span(&own, 1)), "time"),
        transport.post_receive(source, 9, std::as_writable_bytes(std::span(&other, 1)), "time")};
    finish(transport, tickets);
    return other;
  };
  const int size = transport.size();
  for (int distance = 1; distance < size; ++distance) {
    const int right = (transport.rank() + distance) % size;
    const int left = (transport.rank() + size - distance) % size;
    const double asked = transport.now().value();
    const double begun = exchange(right, left, asked);
    expect(begun <= transport.now().value(), "a rank has a question from the future");
    const double answer = exchange(left, right, transport.now().value());
    expect(asked <= answer && answer <= transport.now().value(), "the clocks of ranks disagree");
  }
}

void run_checks(Transport& transport) {
  expect(launched_by_mpi() || transport.size() == 1, "the launcher was not noticed");
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    check_messages(transport, seed);
    check_operations(transport, seed);
  }
  check_gather(transport);
  check_clock(transport);
  if (transport.size() == 1) return;
  check_large(transport);
  check_mismatch(transport);
  check_gather(transport);
  check_abort(transport);
}

int run(int argc, char** argv) {
  std::unique_ptr<Transport> transport;
  try {
    transport = mpi_transport(&argc, &argv);
  } catch (const EnvironmentError& error) {
    std::fprintf(stderr, "skipped: %s\n", error.what());
    return 77;
  }
  try {
    run_checks(*transport);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rank %d: %s\n", transport->rank(), error.what());
    transport->abort(error.what());
    return 1;
  }
  if (transport->rank() == 0) std::printf("%d ranks pass\n", transport->size());
  return 0;
}

}  // namespace
}  // namespace orrery

int main(int argc, char** argv) {
  return orrery::run(argc, argv);
}
