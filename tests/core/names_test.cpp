#include <catch2/catch.hpp>
#include <set>

#include "core/layout.hpp"
#include "core/op.hpp"
#include "core/program.hpp"
#include "core/schedule.hpp"

namespace orrery {

TEST_CASE("every kernel class has a name of its own that reads back") {
  std::set<std::string_view> names;
  for (int value = 0; value < static_cast<int>(KernelClass::kCount); ++value) {
    const auto kernel = static_cast<KernelClass>(value);
    names.insert(to_string(kernel));
    CHECK(kernel_class(to_string(kernel)) == kernel);
  }
  CHECK(names.size() == static_cast<std::size_t>(KernelClass::kCount));
  CHECK(to_string(KernelClass::kOptimizer) == "optimizer");
  CHECK(to_string(KernelClass::kCastTransposeGathered) == "cast-transpose-gathered");
  CHECK_FALSE(kernel_class("gemmm").has_value());
}

TEST_CASE("a layout is described by the dimensions that are not 1") {
  Layout layout;
  CHECK(describe(layout) == "pp=1 ep=1 dp=1");
  layout.pp = 16;
  layout.ep = 64;
  layout.dp = 64;
  layout.tp = 2;
  layout.micro_batch = 2;
  CHECK(describe(layout) == "pp=16 tp=2 ep=64 dp=64 mbs=2");
}

TEST_CASE("the amount of an op is its bytes, else what its class is counted in") {
  Op op;
  op.m = 4096;
  op.launches = 3;
  op.flops = Flops{1e9};
  op.kernel = KernelClass::kGemm;
  CHECK(op.amount() == 1e9);
  op.kernel = KernelClass::kSmall;
  CHECK(op.amount() == 3);
  op.kernel = KernelClass::kRouterTopk;
  CHECK(op.amount() == 4096);
  op.bytes = Bytes{512};
  CHECK(op.amount() == 512);
}

TEST_CASE("a bidirectional schedule halves the micro-batches and hosts each stage twice") {
  Schedule schedule;
  schedule.microbatches = 20;
  schedule.directions = 2;
  schedule.chunks = {{{Stage{0}, 0}, {Stage{1}, 1}}, {{Stage{1}, 0}, {Stage{0}, 1}}};
  CHECK(schedule.stages() == 2);
  CHECK(schedule.microbatches_of(0).last == 10);
  CHECK(schedule.microbatches_of(1).first == 10);
  CHECK(schedule.microbatches_of(1).last == 20);
  const Schedule::Host host = schedule.host(Stage{0}, 1);
  CHECK(host.rank == Rank{1});
  CHECK(host.chunk == ChunkId{1});
}

TEST_CASE("a cell is described with its stage and direction, even where its chunk does not exist") {
  Schedule schedule;
  schedule.chunks = {{{Stage{3}, 0}, {Stage{12}, 1}}};
  CHECK(describe(schedule, Rank{0}, forward_cell(Microbatch{12}, ChunkId{0})) ==
        "F 12 (stage 3, direction 0)");
  CHECK(describe(schedule, Rank{0}, backward_cell(CellKind::kW, Microbatch{2}, ChunkId{1})) ==
        "W 2 (stage 12, direction 1)");
  CHECK(describe(schedule, Rank{0},
                 pair_cell({Microbatch{13}, ChunkId{0}}, {Microbatch{2}, ChunkId{1}})) ==
        "F&B 13|2 (stage 3, direction 0 | stage 12, direction 1)");
  CHECK(describe(schedule, Rank{5}, forward_cell(Microbatch{1}, ChunkId{9})) == "F 1 (chunk 9)");
}

}  // namespace orrery
