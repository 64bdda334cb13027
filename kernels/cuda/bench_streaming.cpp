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

std::vector<Case> norm_cases(std::int64_t tokens, std::int64_t columns) {
  const auto elements = static_cast<double>(tokens * columns);
  const std::string shape = sizes({tokens, columns});
  const auto make = [=](auto run) {
    return [=](cudaStream_t) -> Launch {
      auto x = bf16(tokens * columns), dy = bf16(tokens * columns),
           y = room<Bf16>(tokens * columns);
      auto weight = floats(columns), rms = floats(tokens), dweight = floats(columns);
      auto codes = room<std::uint8_t>(tokens * columns);
      auto scales = room<float>(columns / 128 * scale_stride(tokens));
      return
          [=](cudaStream_t on) { run(*x, *dy, *y, *weight, *rms, *dweight, *codes, *scales, on); };
    };
  };
  using B = const Device<Bf16>&;
  using F = const Device<float>&;
  using C = const Device<std::uint8_t>&;
  Case forward{"RMSNorm", shape, "copy", 0, 4 * elements};
  forward.make = make([=](B x, B, B y, F w, F r, F, C, F, cudaStream_t on) {
    rms_norm_forward(tokens, columns, x.get(), w.get(), 1e-6f, y.get(), r.get(), on);
  });
  Case fp8{"RMSNorm to E4M3", shape, "copy", 0, (3 + 4.0 / 128) * elements};
  fp8.make = make([=](B x, B, B, F w, F r, F, C codes, F scales, cudaStream_t on) {
    rms_norm_forward_fp8(tokens, columns, x.get(), w.get(), 1e-6f, codes.get(), scales.get(),
                         r.get(), on);
  });
  Case input{"RMSNorm input gradient", shape, "copy", 0, 6 * elements};
  input.make = make([=](B x, B dy, B dx, F w, F r, F, C, F, cudaStream_t on) {
    rms_norm_backward_input(tokens, columns, x.get(), w.get(), r.get(), dy.get(), dx.get(), on);
  });
  Case weight{"RMSNorm weight gradient", shape, "copy", 0, 4 * elements};
  weight.make = make([=](B x, B dy, B, F, F r, F dw, C, F, cudaStream_t on) {
    rms_norm_backward_weight(tokens, columns, x.get(), r.get(), dy.get(), dw.get(), on);
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

std::vector<Case> swiglu_cases(std::int64_t rows, std::int64_t inter) {
  const auto elements = static_cast<double>(rows * inter);
  const std::string shape = sizes({rows, inter});
  const auto make = [=](auto run) {
    return [=](cudaStream_t) -> Launch {
      auto x = bf16(rows * 2 * inter), dout = bf16(rows * inter), dx = room<Bf16>(rows * 2 * inter);
      auto out = room<Bf16>(rows * inter);
      auto weight = floats(rows), scales = room<float>(inter / 128 * scale_stride(rows));
      auto codes = room<std::uint8_t>(rows * inter);
      return [=](cudaStream_t on) { run(*x, *dout, *dx, *out, *weight, *codes, *scales, on); };
    };
  };
  using B = const Device<Bf16>&;
  using F = const Device<float>&;
  using C = const Device<std::uint8_t>&;
  Case forward{"SwiGLU", shape, "copy", 0, 6 * elements};
  forward.make = make([=](B x, B, B, B out, F w, C, F, cudaStream_t on) {
    swiglu_forward(rows, inter, x.get(), w.get(), out.get(), on);
  });
  Case fp8{"SwiGLU to E4M3", shape, "copy", 0, (5 + 4.0 / 128) * elements};
  fp8.make = make([=](B x, B, B, B, F w, C codes, F scales, cudaStream_t on) {
    swiglu_forward_fp8(rows, inter, x.get(), w.get(), codes.get(), scales.get(), on);
  });
  Case backward{"SwiGLU gradient", shape, "copy", 0, 10 * elements};
  backward.make = make([=](B x, B dout, B dx, B, F w, C, F, cudaStream_t on) {
    swiglu_backward_input(rows, inter, x.get(), w.get(), dout.get(), dx.get(), on);
  });
  return {forward, fp8, backward};
}

// The choices of a token are spread evenly; a token's rows lie far apart.
std::vector<Case> permute_cases(const Layer& l) {
  const std::int64_t tokens = l.tokens, hidden_size = l.hidden, slots = l.top_k,
                     all = tokens * slots;
  std::vector<std::int32_t> row_of(size(all));
  for (std::int64_t row = 0; row < all; ++row) {
    const std::int64_t token = row % tokens, slot = row / tokens;
    row_of[size(token * slots + slot)] = static_cast<std::int32_t>(row);
  }
  const auto hidden = static_cast<double>(hidden_size);
  Case expand{"expand rows", sizes({all, hidden_size}), "copy", 0,
              2.0 * hidden * static_cast<double>(tokens + all)};
  expand.make = [=](cudaStream_t) -> Launch {
    auto x = bf16(tokens * hidden_size), out = room<Bf16>(all * hidden_size);
    auto rows = std::make_shared<Device<std::int32_t>>(row_of);
    return [=](cudaStream_t on) {
      expand_rows(tokens, slots, hidden_size, rows->get(), x->get(), out->get(), on);
    };
  };
  Case reduce{"reduce rows", expand.shape, "copy", 0, expand.bytes};
  reduce.make = [=](cudaStream_t) -> Launch {
    auto y = bf16(all * hidden_size), out = room<Bf16>(tokens * hidden_size);
    auto rows = std::make_shared<Device<std::int32_t>>(row_of);
    return [=](cudaStream_t on) {
      reduce_rows(tokens, slots, hidden_size, rows->get(), y->get(), out->get(), on);
    };
  };
  return {expand, reduce};
}

Case rope_case(std::int64_t tokens, std::int64_t heads) {
  Case made{"RoPE", sizes({tokens, heads, 64}), "copy", 0,
            4.0 * static_cast<double>(tokens * heads * 64)};
  made.make = [=](cudaStream_t) -> Launch {
    auto x = bf16(tokens * heads * 192);
    std::vector<std::int32_t> positions(size(tokens));
    for (std::size_t token = 0; token < positions.size(); ++token)
      positions[token] = static_cast<std::int32_t>(token);
    auto of = std::make_shared<Device<std::int32_t>>(positions);
    auto table = std::make_shared<Device<float>>(rope_table(tokens, 64, 10000));
    return [=](cudaStream_t on) {
      rope(tokens, heads, 192, 128, 64, of->get(), table->get(), false, x->get(), on);
    };
  };
  return made;
}

Case router_case(std::int64_t tokens) {
  Case made{"router", sizes({tokens, kRouterExperts}), "copy", 0,
            static_cast<double>(tokens * (kRouterExperts * 8 + 64))};
  made.make = [=](cudaStream_t) -> Launch {
    auto logits = floats(tokens * kRouterExperts), scores = room<float>(tokens * kRouterExperts);
    auto bias = floats(kRouterExperts), weights = room<float>(tokens * 8);
    auto choice = room<std::int32_t>(tokens * 8);
    auto counts = room<unsigned long long>(kRouterExperts);
    counts->fill(0);
    return [=](cudaStream_t on) {
      router(tokens, 4, 8, 2.5f, logits->get(), bias->get(), scores->get(), choice->get(),
             weights->get(), counts->get(), on);
    };
  };
  return made;
}

Case cross_entropy_case(std::int64_t tokens, std::int64_t vocab) {
  Case made{"cross-entropy and gradient", sizes({tokens, vocab}), "copy", 0,
            4.0 * static_cast<double>(tokens * vocab)};
  made.make = [=](cudaStream_t) -> Launch {
    auto logits = bf16(tokens * vocab);
    auto loss = room<float>(tokens);
    std::vector<std::int32_t> ids(size(tokens));
    for (std::size_t token = 0; token < ids.size(); ++token)
      ids[token] = static_cast<std::int32_t>(token * 31 % vocab);
    auto targets = std::make_shared<Device<std::int32_t>>(ids);
    return [=](cudaStream_t on) {
      cross_entropy(tokens, vocab, targets->get(), 1.0f, logits->get(), loss->get(), on);
    };
  };
  return made;
}

Case adamw_case(std::int64_t parameters) {
  Case made{"AdamW, BF16 moments", sizes({parameters}), "copy", 0,
            22.0 * static_cast<double>(parameters)};
  made.make = [=](cudaStream_t) -> Launch {
    auto parameter = floats(parameters), gradient = floats(parameters);
    auto first = bf16(parameters), second = room<Bf16>(parameters), copied = room<Bf16>(parameters);
    second->fill(0);
    kernels::AdamwStep step;
    step.learning_rate = 1e-4;
    return [=](cudaStream_t on) {
      adamw(parameters, step, gradient->get(), parameter->get(), first->get(), second->get(),
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

std::vector<Case> streaming_cases(const Layer& l) {
  std::vector<Case> cases;
  const auto add = [&](std::vector<Case> more) {
    for (Case& each : more) cases.push_back(std::move(each));
  };
  add(norm_cases(l.tokens, l.hidden));
  if (l.latent != l.hidden) add(norm_cases(l.tokens, l.latent));
  add(quantise_cases(l.tokens, l.hidden));
  add(quantise_cases(l.experts * l.rows, l.hidden));
  add(swiglu_cases(l.experts * l.rows, l.inter));
  add(permute_cases(l));
  add({rope_case(l.tokens, l.heads)});
  if (l.all_experts == kRouterExperts) add({router_case(l.tokens)});
  add({cross_entropy_case(l.tokens, l.vocab), adamw_case(l.parameters)});
  return cases;
}

}  // namespace orrery::cuda
