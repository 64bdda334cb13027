// A run of many ranks on few cores, on random programs: what must hold whatever the program.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "sim/analytic.hpp"
#include "tests/sim/hand_made_host.hpp"

namespace orrery {
namespace {

// Computations, exchanges, transfers and collectives with dependencies on earlier instructions; the
// communication of a rank is a chain, so that it never meets itself.
Program random_program(std::uint32_t seed, int ranks, int count) {
  std::mt19937 random(seed);
  const auto below = [&](int end) { return static_cast<int>(random() % unsigned(end)); };
  const auto amount = [&] { return 0.01 * (1 + below(200)); };
  ProgramMaker make(ranks);
  std::vector<InstructionId> all;
  std::vector<InstructionId> last_comm(static_cast<std::size_t>(ranks));
  const auto chain = [&](InstructionId id) {
    Instruction& instruction = make.program.instructions[id.index()];
    InstructionId& last = last_comm[instruction.rank.index()];
    if (last.valid()) {
      const std::vector<InstructionId> old(make.program.deps.begin() + instruction.first_dep,
                                           make.program.deps.begin() + instruction.last_dep);
      instruction.first_dep = static_cast<std::uint32_t>(make.program.deps.size());
      make.program.deps.insert(make.program.deps.end(), old.begin(), old.end());
      make.program.deps.push_back(last);
      instruction.last_dep = static_cast<std::uint32_t>(make.program.deps.size());
    }
    last = id;
    all.push_back(id);
  };
  while (static_cast<int>(make.program.instructions.size()) < count) {
    const int kind = below(10);
    const InstructionId dep =
        all.empty() ? InstructionId{} : all[static_cast<std::size_t>(below(int(all.size())))];
    const int rank = below(ranks);
    if (all.empty() || kind < 5) {
      all.push_back(dep.valid() ? make.compute(rank, amount(), {dep})
                                : make.compute(rank, amount()));
    } else if (kind < 7) {
      chain(make.exchange(rank, 10 * amount(), 0, {dep}));
    } else if (kind < 9 && rank + 1 < ranks) {
      const auto [send, recv] = make.send(rank, 10 * amount(), {dep});
      chain(recv);
      all.push_back(send);
    } else {
      const InstructionId a = make.exchange(rank, 10 * amount(), 0, {dep});
      const InstructionId b = make.exchange((rank + 1) % ranks, 10 * amount(), 0, {dep});
      make.collective({a, b});
      chain(a);
      chain(b);
    }
  }
  return make.program;
}

double total_work(const Program& program) {
  const HandTimes times(program);
  double total = 0;
  for (const Instruction& instruction : program.instructions) {
    const bool sends = instruction.partner.valid() && (instruction.stream == Stream::kSendNext ||
                                                       instruction.stream == Stream::kSendPrev);
    if (!sends) total += times.at(instruction).work.value();
  }
  return total;
}

// The analytic engine ends each member by itself: members that take the same end together in both.
Program with_equal_members(Program program) {
  for (const auto& members : program.collectives) {
    const WorkId work = program.instructions[members.front().index()].work;
    for (InstructionId member : members) program.instructions[member.index()].work = work;
  }
  return program;
}

TEST_CASE("with cores for all, no latencies and no pace a host is the analytic engine") {
  const std::uint32_t seed = GENERATE(range(1u, 21u));
  CAPTURE(seed);
  const Program program = with_equal_members(random_program(seed, 5, 400));
  REQUIRE(program.collectives.size() > 10);
  const Timeline reference = run_analytic(program, HandCost(), program.pp);
  const Timeline timeline = run_by_hand(program, machine_of(10));
  CHECK(timeline.step.value() == Approx(reference.step.value()).epsilon(1e-12));
  CHECK(timeline.activities == reference.activities);
  double most = 0;
  for (std::size_t span = 0; span < timeline.spans.size(); ++span) {
    most = std::max({most,
                     std::abs((timeline.spans[span].start - reference.spans[span].start).value()),
                     std::abs((timeline.spans[span].end - reference.spans[span].end).value())});
  }
  CHECK(most <= 1e-12 * reference.step.value());
}

TEST_CASE("cores that are all slower by a factor take the factor longer, however it is told") {
  const std::uint32_t seed = GENERATE(range(1u, 11u));
  CAPTURE(seed);
  constexpr double kFactor = 1.7;
  const Program program = random_program(seed, 6, 300);
  const HostMachine machine = machine_of(3);
  const Timeline reference = run_by_hand(program, machine);
  SpeedTrace speeds(3);
  std::mt19937 random(seed);
  for (auto& core : speeds) {
    for (double at = 0; at < 2 * reference.step.value(); at += 0.001 * double(1 + random() % 999))
      core.push_back({Seconds{at}, kFactor});
  }
  const Timeline slower = run_by_hand(program, machine, {}, speeds);
  CHECK(slower.step.value() == Approx(kFactor * reference.step.value()).epsilon(1e-9));
  for (std::size_t span = 0; span < reference.spans.size(); ++span) {
    const Span &own = slower.spans[span], &other = reference.spans[span];
    CHECK(own.end.value() == Approx(kFactor * other.end.value()).epsilon(1e-9).margin(1e-9));
  }
}

TEST_CASE("a step lies between those of the fastest and of the slowest stretches of its trace") {
  const std::uint32_t seed = GENERATE(range(1u, 11u));
  CAPTURE(seed);
  const Program program = random_program(seed, 2, 200);  // one core is never idle
  const HostMachine machine = machine_of(1);
  const double reference = run_by_hand(program, machine).step.value();
  std::mt19937 random(seed);
  SpeedTrace speeds(1);
  for (double at = 0; at < 2 * reference; at += 0.3)
    speeds[0].push_back({Seconds{at}, random() % 2 == 0 ? 0.8 : 1.5});
  const double step = run_by_hand(program, machine, {}, speeds).step.value();
  CHECK(step > 0.8 * reference);
  CHECK(step < 1.5 * reference);
}

TEST_CASE(
    "no host is faster than its cores, than the critical path, or than itself without costs") {
  const std::uint32_t seed = GENERATE(range(1u, 11u));
  const int cores = GENERATE(1, 2, 3, 7);
  CAPTURE(seed, cores);
  const Program program = random_program(seed, 6, 300);
  const double critical = run_analytic(program, HandCost(), program.pp).step.value();
  const double work = total_work(program);
  HostMachine machine = machine_of(cores);
  const Timeline fast = run_by_hand(program, machine);
  CHECK(fast.step.value() >= work / cores * (1 - 1e-12));
  CHECK(fast.step.value() >= critical * (1 - 1e-12));
  CHECK(fast.step.value() <= work * (1 + 1e-12));  // some core is always at work
  for (int busy = 1; busy < cores; ++busy) {
    machine.slowdown[static_cast<std::size_t>(busy)] = 1 + 0.1 * busy;
  }
  machine.hand_over = Seconds{0.01};
  machine.wake = Seconds{0.02};
  const Timeline slow = run_by_hand(program, machine, Seconds{0.5});
  CHECK(slow.step.value() >= critical * (1 - 1e-12));
  CHECK(slow.step > fast.step);
  for (const Instruction& instruction : program.instructions) {
    const Span& span = slow.at(instruction.id);
    REQUIRE(span.length().value() >= HandTimes(program).at(instruction).work.value() * (1 - 1e-12));
    for (InstructionId before : program.deps_of(instruction)) {
      REQUIRE(span.start >= slow.at(before).end);
    }
  }
  for (const auto& streams : program.streams) {
    for (const auto& list : streams) {
      for (std::size_t place = 1; place < list.size(); ++place) {
        REQUIRE(slow.at(list[place]).start >= slow.at(list[place - 1]).end);
      }
    }
  }
}

// Work conservation: while a computation waits for its core, that core is at work, on one thing.
// Computations only, so that spans are works.
TEST_CASE("no core is idle while work of its ranks waits, and none does two works at once") {
  const std::uint32_t seed = GENERATE(range(1u, 11u));
  const int cores = GENERATE(1, 2, 3);
  CAPTURE(seed, cores);
  std::mt19937 random(seed);
  ProgramMaker make(6);
  for (int count = 0; count < 200; ++count) {
    const int rank = static_cast<int>(random() % 6);
    const double seconds = 0.01 * static_cast<double>(1 + random() % 200);
    if (count < 6) {
      make.compute(rank, seconds);
    } else {
      make.compute(rank, seconds, {InstructionId(random() % unsigned(count))});
    }
  }
  const Timeline timeline = run_by_hand(make.program, machine_of(cores));
  std::vector<double> ready(timeline.spans.size());
  const auto raise = [&](InstructionId id, InstructionId before) {
    ready[id.index()] = std::max(ready[id.index()], timeline.at(before).end.value());
  };
  for (const Instruction& instruction : make.program.instructions) {
    for (InstructionId before : make.program.deps_of(instruction)) raise(instruction.id, before);
  }
  for (const auto& streams : make.program.streams) {
    const auto& list = streams[static_cast<std::size_t>(Stream::kCompute)];
    for (std::size_t place = 1; place < list.size(); ++place) raise(list[place], list[place - 1]);
  }
  std::vector<double> times;
  for (const Span& span : timeline.spans) {
    times.push_back(span.start.value());
    times.push_back(span.end.value());
  }
  std::sort(times.begin(), times.end());
  for (std::size_t place = 1; place < times.size(); ++place) {
    const double middle = (times[place - 1] + times[place]) / 2;
    if (times[place] - times[place - 1] < 1e-9) continue;
    std::vector<int> busy(static_cast<std::size_t>(cores)), waiting(busy);
    for (const Instruction& instruction : make.program.instructions) {
      const std::size_t id = instruction.id.index();
      const auto core = instruction.rank.index() % busy.size();
      const Span& span = timeline.spans[id];
      busy[core] += span.start.value() < middle && middle < span.end.value();
      waiting[core] += ready[id] < middle && middle < span.start.value();
    }
    for (std::size_t core = 0; core < busy.size(); ++core) {
      REQUIRE(busy[core] <= 1);
      if (waiting[core] > 0) REQUIRE(busy[core] == 1);
    }
  }
}

TEST_CASE("the same run gives the same times to the last bit") {
  const Program program = random_program(3, 8, 2000);
  HostMachine machine = machine_of(3);
  machine.slowdown = {1, 1.1, 1.3};
  machine.hand_over = machine.wake = Seconds{0.01};
  const Timeline first = run_by_hand(program, machine, Seconds{0.1});
  const Timeline second = run_by_hand(program, machine, Seconds{0.1});
  CHECK(first.spans == second.spans);
}

}  // namespace
}  // namespace orrery
