#include "kernels/cuda/adamw.hpp"
#include "kernels/cuda/bench_case.cuh"
#include "kernels/cuda/copy.hpp"
#include "kernels/cuda/cross_entropy.hpp"
#include "kernels/cuda/permute.hpp"
#include "kernels/cuda/quantise.hpp"
#include "kernels/cuda/rms_norm.hpp"
#include "kernels/cuda/rope.hpp"
#include "kernels/cuda/router.hpp"
#include "kernels/cuda/swiglu.hpp"

namespace orrery::cuda {
namespace {

Case copy_case(std::int64_t bytes, int blocks) {
  Case made{"copy", sizes({bytes}), "copy"};
  if (blocks > 0) made.kernel = "copy by " + std::to_string(blocks) + " SMs";
  made.sms = blocks;
  made.bytes = 2.0 * static_cast<double>(bytes);
  made.make = [=](cudaStream_t) -> Launch {
    auto from = bf16(bytes / 2), to = room<Bf16>(bytes / 2);
    return [=](cudaStream_t on) { copy(from->get(), to->get(), size(bytes), blocks, on); };
  };
  return made;
}

// Writes alone: what bounds a kernel that writes far more than it reads.
Case fill_case() {
  constexpr std::int64_t kBytes = std::int64_t{1} << 30;
  Case made{"fill (writes alone)", sizes({kBytes}), "copy", 0, static_cast<double>(kBytes)};
  made.make = [](cudaStream_t) -> Launch {
    auto to = room<char>(kBytes);
    return [=](cudaStream_t on) { check(cudaMemsetAsync(to->get(), 1, size(kBytes), on), "fill"); };
  };
  return made;
}

std::vector<Case> norm_cases(std::int64_t columns) {
  const auto elements = static_cast<double>(kTokens * columns);
  const std::string shape = sizes({kTokens, columns});
  const auto make = [columns](auto run) {
    return [columns, run](cudaStream_t) -> Launch {
      auto x = bf16(kTokens * columns), dy = bf16(kTokens * columns),
           y = room<Bf16>(kTokens * columns);
      auto weight = floats(columns), rms = floats(kTokens), dweight = floats(columns);
      auto codes = room<std::uint8_t>(kTokens * columns);
      auto scales = room<float>(columns / 128 * scale_stride(kTokens));
      return
          [=](cudaStream_t on) { run(*x, *dy, *y, *weight, *rms, *dweight, *codes, *scales, on); };
    };
  };
  using B = const Device<Bf16>&;
  using F = const Device<float>&;
  using C = const Device<std::uint8_t>&;
  Case forward{"RMSNorm", shape, "copy", 0, 4 * elements};
  forward.make = make([columns](B x, B, B y, F w, F r, F, C, F, cudaStream_t on) {
    rms_norm_forward(kTokens, columns, x.get(), w.get(), 1e-6f, y.get(), r.get(), on);
  });
  Case fp8{"RMSNorm to E4M3", shape, "copy", 0, (3 + 4.0 / 128) * elements};
  fp8.make = make([columns](B x, B, B, F w, F r, F, C codes, F scales, cudaStream_t on) {
    rms_norm_forward_fp8(kTokens, columns, x.get(), w.get(), 1e-6f, codes.get(), scales.get(),
                         r.get(), on);
  });
  Case input{"RMSNorm input gradient", shape, "copy", 0, 6 * elements};
  input.make = make([columns](B x, B dy, B dx, F w, F r, F, C, F, cudaStream_t on) {
    rms_norm_backward_input(kTokens, columns, x.get(), w.get(), r.get(), dy.get(), dx.get(), on);
  });
  Case weight{"RMSNorm weight gradient", shape, "copy", 0, 4 * elements};
  weight.make = make([columns](B x, B dy, B, F, F r, F dw, C, F, cudaStream_t on) {
    rms_norm_backward_weight(kTokens, columns, x.get(), r.get(), dy.get(), dw.get(), on);
  });
  return {forward, fp8, input, weight};
}

std::vector<Case> quantise_cases(std::int64_t rows, std::int64_t columns) {
  const auto elements = static_cast<double>(rows * columns);
  const double bytes = (3 + 4.0 / 128) * elements;
  std::vector<Case> cases;
  const auto add = [&](const char* name, auto run, double moved) {
    Case made{name, sizes({rows, columns}), "copy", 0, moved};
    made.make = [=](cudaStream_t) -> Launch {
      auto x = bf16(rows * columns);
      auto codes = room<std::uint8_t>(rows * columns);
      auto scales =
          room<float>((columns / 128 + 1) * (rows + 4) + (rows / 128 + 1) * (columns + 4));
      return
          [=](cudaStream_t on) { run(rows, columns, x->get(), codes->get(), scales->get(), on); };
    };
    cases.push_back(made);
  };
  add("quantise rows", quantise_rows, bytes);
  add("quantise columns, transposing", quantise_columns, bytes);
  add("quantise blocks", quantise_blocks, 3 * elements);
  return cases;
}

std::vector<Case> swiglu_cases(std::int64_t rows) {
  const auto elements = static_cast<double>(rows * kInter);
  const std::string shape = sizes({rows, kInter});
  const auto make = [rows](auto run) {
    return [rows, run](cudaStream_t) -> Launch {
      auto x = bf16(rows * 2 * kInter), dout = bf16(rows * kInter),
           dx = room<Bf16>(rows * 2 * kInter);
      auto out = room<Bf16>(rows * kInter);
      auto weight = floats(rows), scales = room<float>(kInter / 128 * scale_stride(rows));
      auto codes = room<std::uint8_t>(rows * kInter);
      return [=](cudaStream_t on) { run(*x, *dout, *dx, *out, *weight, *codes, *scales, on); };
    };
  };
  using B = const Device<Bf16>&;
  using F = const Device<float>&;
  using C = const Device<std::uint8_t>&;
  Case forward{"SwiGLU", shape, "copy", 0, 6 * elements};
  forward.make = make([rows](B x, B, B, B out, F w, C, F, cudaStream_t on) {
    swiglu_forward(rows, kInter, x.get(), w.get(), out.get(), on);
  });
  Case fp8{"SwiGLU to E4M3", shape, "copy", 0, (5 + 4.0 / 128) * elements};
  fp8.make = make([rows](B x, B, B, B, F w, C codes, F scales, cudaStream_t on) {
    swiglu_forward_fp8(rows, kInter, x.get(), w.get(), codes.get(), scales.get(), on);
  });
  Case backward{"SwiGLU gradient", shape, "copy", 0, 10 * elements};
  backward.make = make([rows](B x, B dout, B dx, B, F w, C, F, cudaStream_t on) {
    swiglu_backward_input(rows, kInter, x.get(), w.get(), dout.get(), dx.get(), on);
  });
  return {forward, fp8, backward};
}

// Eight choices a token, spread evenly; a token's rows lie far apart.
std::vector<Case> permute_cases() {
  constexpr std::int64_t kSlots = 8, kAll = kTokens * kSlots;
  std::vector<std::int32_t> row_of(size(kAll));
  for (std::int64_t row = 0; row < kAll; ++row) {
    const std::int64_t token = row % kTokens, slot = row / kTokens;
    row_of[size(token * kSlots + slot)] = static_cast<std::int32_t>(row);
  }
  const auto hidden = static_cast<double>(kHidden);
  Case expand{"expand rows", sizes({kAll, kHidden}), "copy", 0,
              2.0 * hidden * static_cast<double>(kTokens + kAll)};
  expand.make = [=](cudaStream_t) -> Launch {
    auto x = bf16(kTokens * kHidden), out = room<Bf16>(kAll * kHidden);
    auto rows = std::make_shared<Device<std::int32_t>>(row_of);
    return [=](cudaStream_t on) {
      expand_rows(kTokens, kSlots, kHidden, rows->get(), x->get(), out->get(), on);
    };
  };
  Case reduce{"reduce rows", expand.shape, "copy", 0, expand.bytes};
  reduce.make = [=](cudaStream_t) -> Launch {
    auto y = bf16(kAll * kHidden), out = room<Bf16>(kTokens * kHidden);
    auto rows = std::make_shared<Device<std::int32_t>>(row_of);
    return [=](cudaStream_t on) {
      reduce_rows(kTokens, kSlots, kHidden, rows->get(), y->get(), out->get(), on);
    };
  };
  return {expand, reduce};
}

Case rope_case() {
  Case made{"RoPE", sizes({kTokens, kHeads, 64}), "copy", 0,
            4.0 * static_cast<double>(kTokens * kHeads * 64)};
  made.make = [](cudaStream_t) -> Launch {
    auto x = bf16(kTokens * kHeads * 192);
    std::vector<std::int32_t> positions(size(kTokens));
    for (std::size_t token = 0; token < positions.size(); ++token)
      positions[token] = static_cast<std::int32_t>(token);
    auto of = std::make_shared<Device<std::int32_t>>(positions);
    auto table = std::make_shared<Device<float>>(rope_table(kTokens, 64, 10000));
    return [=](cudaStream_t on) {
      rope(kTokens, kHeads, 192, 128, 64, of->get(), table->get(), false, x->get(), on);
    };
  };
  return made;
}

Case router_case() {
  Case made{"router", sizes({kTokens, kRouterExperts}), "copy", 0,
            static_cast<double>(kTokens * (kRouterExperts * 8 + 64))};
  made.make = [](cudaStream_t) -> Launch {
    auto logits = floats(kTokens * kRouterExperts), scores = room<float>(kTokens * kRouterExperts);
    auto bias = floats(kRouterExperts), weights = room<float>(kTokens * 8);
    auto choice = room<std::int32_t>(kTokens * 8);
    auto counts = room<unsigned long long>(kRouterExperts);
    counts->fill(0);
    return [=](cudaStream_t on) {
      router(kTokens, 4, 8, 2.5f, logits->get(), bias->get(), scores->get(), choice->get(),
             weights->get(), counts->get(), on);
    };
  };
  return made;
}

Case cross_entropy_case() {
  Case made{"cross-entropy and gradient", sizes({kTokens, kVocabulary}), "copy", 0,
            4.0 * static_cast<double>(kTokens * kVocabulary)};
  made.make = [](cudaStream_t) -> Launch {
    auto logits = bf16(kTokens * kVocabulary);
    auto loss = room<float>(kTokens);
    std::vector<std::int32_t> ids(size(kTokens));
    for (std::size_t token = 0; token < ids.size(); ++token)
      ids[token] = static_cast<std::int32_t>(token * 31 % kVocabulary);
    auto targets = std::make_shared<Device<std::int32_t>>(ids);
    return [=](cudaStream_t on) {
      cross_entropy(kTokens, kVocabulary, targets->get(), 1.0f, logits->get(), loss->get(), on);
    };
  };
  return made;
}

Case adamw_case() {
  constexpr std::int64_t kParameters = std::int64_t{1} << 27;
  Case made{"AdamW, BF16 moments", sizes({kParameters}), "copy", 0,
            22.0 * static_cast<double>(kParameters)};
  made.make = [](cudaStream_t) -> Launch {
    auto parameter = floats(kParameters), gradient = floats(kParameters);
    auto first = bf16(kParameters), second = room<Bf16>(kParameters),
         copied = room<Bf16>(kParameters);
    second->fill(0);
    kernels::AdamwStep step;
    step.learning_rate = 1e-4;
    return [=](cudaStream_t on) {
      adamw(kParameters, step, gradient->get(), parameter->get(), first->get(), second->get(),
            copied->get(), on);
    };
  };
  return made;
}

}  // namespace

std::vector<Case> copy_cases() {
  // The ceiling; then the size of a hidden state, in and out of which most kernels stream.
  std::vector<Case> cases = {copy_case(std::int64_t{1} << 30, 0),
                             copy_case(kTokens * kHidden * 2, 0), fill_case()};
  for (int blocks : {4, 8, 12, 16, 20, 24, 32, 64, 132})
    cases.push_back(copy_case(std::int64_t{1} << 28, blocks));
  return cases;
}

std::vector<Case> streaming_cases() {
  std::vector<Case> cases;
  const auto add = [&](std::vector<Case> more) {
    for (Case& each : more) cases.push_back(std::move(each));
  };
  add(norm_cases(kHidden));
  add(norm_cases(1536));
  add(quantise_cases(kTokens, kHidden));
  add(quantise_cases(kExperts * kRows, kHidden));
  add(swiglu_cases(kExperts * kRows));
  add(permute_cases());
  add({rope_case(), router_case(), cross_entropy_case(), adamw_case()});
  return cases;
}

}  // namespace orrery::cuda
