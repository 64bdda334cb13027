#include "core/layout_check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/stage_map.hpp"

namespace orrery {
namespace {

constexpr int kMostCommSms =
    100;  // of the 132 or so that a device has, some must be left to compute

constexpr std::int64_t kFar = 100000;  // a divisor beyond this distance is no help

// "nearest: 32, 64": the values next to `value` that divide both numbers.
std::string nearest_divisors(std::int64_t value, std::int64_t a, std::int64_t b) {
  std::vector<std::int64_t> near;
  for (std::int64_t below = std::min(value - 1, std::min(a, b));
       below >= std::max<std::int64_t>(1, value - kFar); --below) {
    if (a % below == 0 && b % below == 0) {
      near.push_back(below);
      break;
    }
  }
  for (std::int64_t above = value + 1; above <= std::min({a, b, value + kFar}); ++above) {
    if (a % above == 0 && b % above == 0) {
      near.push_back(above);
      break;
    }
  }
  return near.empty() ? "" : fmt::format("nearest: {}", fmt::join(near, ", "));
}

class LayoutChecker {
 public:
  LayoutChecker(const Model& model, const Cluster& cluster, const Training& training,
                Layout& layout, Diagnostics& diagnostics, const LocateKey& locate)
      : model_(model),
        cluster_(cluster),
        training_(training),
        layout_(layout),
        diagnostics_(diagnostics),
        locate_(locate) {}

  void check() {
    if (!all_positive()) return;
    check_stages();
    check_tensor();
    check_context();
    check_small();
    check_host();
    check_tokens();
    // Everything after this rests on dp.
    if (!derive_dp()) return;
    check_experts();
    check_batch();
  }

 private:
  bool all_positive() {
    const int before = diagnostics_.errors();
    const auto positive = [this](std::string_view key, int value) {
      if (value < 1) error(key, fmt::format("{} must be at least 1, found {}", key, value));
    };
    positive("pp", layout_.pp);
    positive("tp", layout_.tp);
    positive("cp", layout_.cp);
    positive("ep", layout_.ep);
    positive("etp", layout_.etp);
    positive("vpp", layout_.vpp);
    positive("mbs", layout_.micro_batch);
    positive("sequence", training_.sequence);
    positive("global_batch", training_.global_batch);
    return diagnostics_.errors() == before;
  }

  void check_stages() {
    const std::int64_t stages = std::int64_t{layout_.pp} * layout_.vpp;
    // Embedding and head can have a stage of their own.
    const int entries = model_.layers + model_.mtp_depth + 2;
    if (stages > entries) {
      error("pp",
            fmt::format(
                "pp*vpp = {}*{} = {} stages, but the model has only {} layers, {} MTP modules, "
                "embedding and head = {} to place",
                layout_.pp, layout_.vpp, stages, model_.layers, model_.mtp_depth, entries));
      return;
    }
    if (!layout_.stage_map.empty()) {
      check_stage_map(layout_.stage_map, model_, static_cast<int>(stages), diagnostics_,
                      place("stage_map"));
    }
  }

  void check_tensor() {
    const int tp = layout_.tp;
    const auto split = [&](std::string_view what, std::int64_t size) {
      if (size % tp == 0) return;
      error("tp", fmt::format("tp={} does not divide {} = {}", tp, what, size),
            nearest_divisors(tp, size, size));
    };
    if (tp > 1) {
      split("heads", model_.attention.heads);
      if (model_.attention.kv_heads != model_.attention.heads)
        split("kv_heads", model_.attention.kv_heads);
      if (model_.dense_layers > 0) split("dense_inter", model_.dense_inter);
      if (model_.moe_layers() > 0 && model_.moe.shared_experts > 0) {
        split("the width of the shared experts",
              std::int64_t{model_.moe.shared_experts} * model_.moe.inter);
      }
      // Sequence parallelism: norms and router work on tokens / tp.
      const std::int64_t tokens =
          std::int64_t{training_.sequence} * layout_.micro_batch / layout_.cp;
      split("the tokens of a micro-batch", tokens);
    }
    if (layout_.exchange == ExchangeKernels::kNccl && model_.moe_layers() == 0) {
      error("exchange", "exchange=nccl, but the model has no experts", "leave exchange out");
    } else if (layout_.exchange == ExchangeKernels::kNccl && layout_.precision == Precision::kFp8) {
      error("exchange", "exchange=nccl moves rows in BF16, but precision=fp8 sends them in FP8",
            "take precision=bf16 or fp8-tensor, or exchange=deepep");
    }
    const int etp = layout_.etp;
    if (etp > 1 && model_.moe_layers() == 0) {
      error("etp", fmt::format("etp={}, but the model has no experts", etp), "leave etp out");
    } else if (tp % etp != 0) {
      error("etp", fmt::format("etp={} does not divide tp={}", etp, tp),
            nearest_divisors(etp, tp, tp));
    } else if (etp > 1 && model_.moe.inter % etp != 0) {
      error(
          "etp",
          fmt::format("etp={} does not divide the width of an expert = {}", etp, model_.moe.inter),
          nearest_divisors(etp, tp, model_.moe.inter));
    }
  }

  void check_context() {
    const int cp = layout_.cp;
    // Causal attention: a rank takes one early and one late part of the sequence, so that all work
    // alike.
    if (cp > 1 && training_.sequence % (2 * std::int64_t{cp}) != 0) {
      error("cp",
            fmt::format("2*cp = {} does not divide the sequence of {} tokens", 2 * std::int64_t{cp},
                        training_.sequence),
            "each rank takes two parts of the sequence, so that causal attention is balanced");
    }
  }

  void check_small() {
    if (layout_.zero_stage < 0 || layout_.zero_stage > 3) {
      error("zero", fmt::format("zero must be 0 to 3, found {}", layout_.zero_stage));
    } else if (layout_.zero_stage > 1 && cluster_.fabric.kind == FabricKind::kHost) {
      error("zero",
            fmt::format("zero={}, but hosts carry out ZeRO stages 0 and 1", layout_.zero_stage),
            "use zero=0 or zero=1");
    }
    if (layout_.comm_sms < 0 || layout_.comm_sms > kMostCommSms) {
      error("comm-sms",
            fmt::format("comm-sms must be 0 to {}, found {}", kMostCommSms, layout_.comm_sms));
    }
  }

  void check_host() {
    if (layout_.optimizer == Keep::kCpu && !cluster_.host) {
      error("optimizer",
            fmt::format("optimizer=cpu, but cluster '{}' does not say how fast its hosts are",
                        cluster_.name),
            "give pcie and memory_bandwidth in [host] of the cluster file");
    }
  }

  // Counts of tokens are ints throughout.
  void check_tokens() {
    constexpr std::int64_t kMostTokens = 1 << 30;
    const std::int64_t tokens = std::int64_t{training_.sequence} * layout_.micro_batch;
    if (tokens <= kMostTokens) return;
    error("mbs", fmt::format("a micro-batch of {} sequences of {} tokens = {} tokens is beyond {}",
                             layout_.micro_batch, training_.sequence, tokens, kMostTokens));
  }

  bool derive_dp() {
    const std::int64_t gpus = std::int64_t{cluster_.nodes} * cluster_.gpus_per_node;
    const std::int64_t pp_tp = std::int64_t{layout_.pp} * layout_.tp;
    // Three factors of 31 bits each overflow; beyond the GPUs the exact product does not matter.
    const bool too_many = pp_tp > gpus || pp_tp * layout_.cp > gpus;
    const std::string product =
        pp_tp > gpus && layout_.cp > 1000
            ? fmt::format("pp*tp*cp = {}*{}*{}", layout_.pp, layout_.tp, layout_.cp)
            : fmt::format("pp*tp*cp = {}*{}*{} = {}", layout_.pp, layout_.tp, layout_.cp,
                          pp_tp * layout_.cp);
    if (too_many) {
      error("pp",
            fmt::format("the cluster has {} GPUs, {}: not even one replica fits", gpus, product));
      return false;
    }
    const std::int64_t replica = pp_tp * layout_.cp;
    if (gpus % replica != 0) {
      error("pp", fmt::format("the cluster has {} GPUs, which {} does not divide", gpus, product),
            nearest_divisors(replica, gpus, gpus));
      return false;
    }
    const auto dp = static_cast<int>(gpus / replica);
    if (layout_.dp != 0 && layout_.dp != dp) {
      error("dp", fmt::format("dp={}, but {} GPUs / ({}) = {}", layout_.dp, gpus, product, dp),
            "leave dp out: it follows from the others");
      return false;
    }
    layout_.dp = dp;
    return true;
  }

  void check_experts() {
    const int ep = layout_.ep;
    if (model_.moe_layers() == 0) {
      if (ep != 1)
        error("ep", fmt::format("ep={}, but the model has no experts", ep), "leave ep out");
      return;
    }
    // Tensor-parallel GPUs hold tokens of their own (sequence parallelism), so that each block of
    // etp of them can be a member of an expert group.
    const int blocks = layout_.tp % layout_.etp == 0 ? layout_.tp / layout_.etp : 1;
    const std::int64_t replicas = std::int64_t{layout_.dp} * layout_.cp;
    const std::int64_t members = replicas * blocks;
    const std::string hint = nearest_divisors(ep, model_.moe.experts, members);
    const std::string inside =
        blocks == 1 ? fmt::format("dp*cp = {}*{} = {}", layout_.dp, layout_.cp, replicas)
                    : fmt::format("dp*cp*tp/etp = {}*{}*{}/{} = {}", layout_.dp, layout_.cp,
                                  layout_.tp, layout_.etp, members);
    if (model_.moe.experts % ep != 0) {
      error("ep", fmt::format("ep={} does not divide the {} experts", ep, model_.moe.experts),
            hint);
    } else if (ep > members) {
      error("ep", fmt::format("ep={} is more than {}, the GPUs it is spread over", ep, inside),
            hint);
    } else if (members % ep != 0) {
      error("ep", fmt::format("ep={} does not divide {}, the GPUs it is spread over", ep, inside),
            hint);
    }
  }

  void check_batch() {
    const std::int64_t share = std::int64_t{layout_.dp} * layout_.micro_batch;
    const std::int64_t batch = training_.global_batch;
    if (batch % share == 0) return;
    const std::int64_t below = batch / share * share;
    error("global_batch",
          fmt::format("the global batch of {} sequences is not a multiple of dp*mbs = {}*{} = {}",
                      batch, layout_.dp, layout_.micro_batch, share),
          below > 0 ? fmt::format("nearest: {}, {}", below, below + share)
                    : fmt::format("nearest: {}", share));
  }

  Place place(std::string_view key) const { return locate_ ? locate_(key) : Place{}; }
  void error(std::string_view key, std::string message, std::string hint = "") {
    diagnostics_.error(place(key), std::move(message), std::move(hint));
  }

  const Model& model_;
  const Cluster& cluster_;
  const Training& training_;
  Layout& layout_;
  Diagnostics& diagnostics_;
  const LocateKey& locate_;
};

}  // namespace

void check_layout(const Model& model, const Cluster& cluster, const Training& training,
                  Layout& layout, Diagnostics& diagnostics, const LocateKey& locate) {
  LayoutChecker(model, cluster, training, layout, diagnostics, locate).check();
}

}  // namespace orrery
