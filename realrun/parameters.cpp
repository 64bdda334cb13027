#include "realrun/parameters.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "workload/random.hpp"

namespace orrery {
namespace {

// The part of `total` that is `place` of `parts`; what divides is checked when a layout is read.
IndexRange part(std::int64_t total, int parts, int place) {
  return {total / parts * place, total / parts};
}

class Collector {
 public:
  Collector(const Plan& plan, const GpuPlace& place) : plan_(plan), place_(place) {}

  GpuParameters collect() {
    const Schedule& schedule = plan_.schedule;
    std::vector<Stage> stages;
    for (const ChunkPlace& chunk : schedule.chunks[static_cast<std::size_t>(place_.pipeline)])
      stages.push_back(chunk.stage);
    std::sort(stages.begin(), stages.end());
    for (Stage stage : stages) {
      const std::vector<LayerKind>& entries = plan_.layout.stage_map[stage.index()];
      for (std::size_t layer = 0; layer < entries.size(); ++layer) {
        stage_ = stage;
        layer_ = static_cast<int>(layer);
        prefix_ = unit_name(plan_.layout, stage, layer_);
        add_unit(entries[layer]);
      }
    }
    add_vocabulary();
    place_in_groups();
    return std::move(result_);
  }

 private:
  using Ranges = std::vector<IndexRange>;

  void add(const std::string& name, std::int64_t rows, std::int64_t columns, Ranges rows_held,
           IndexRange columns_held, ParameterSet set, bool is_norm = false) {
    ParameterBlock block;
    block.name = prefix_ + " " + name;
    block.stage = stage_;
    block.layer = layer_;
    block.rows = rows;
    block.columns = columns;
    block.rows_held = std::move(rows_held);
    block.columns_held = columns_held;
    block.is_norm = is_norm;
    result_.blocks.push_back(std::move(block));
    sets_.push_back(set);
  }
  // Held whole by every tensor-parallel GPU.
  void add_whole(const std::string& name, std::int64_t rows, std::int64_t columns) {
    add(name, rows, columns, {{0, rows}}, {0, columns}, whole_set());
  }
  void add_norm(const std::string& name, std::int64_t columns) {
    add(name, 1, columns, {{0, 1}}, {0, columns}, whole_set(), true);
  }
  // Divided by outputs or by inputs.
  void add_by_rows(const std::string& name, std::int64_t rows, std::int64_t columns) {
    add(name, rows, columns, {part(rows, plan_.layout.tp, place_.tensor)}, {0, columns},
        ParameterSet::kDense);
  }
  void add_by_columns(const std::string& name, std::int64_t rows, std::int64_t columns) {
    add(name, rows, columns, {{0, rows}}, part(columns, plan_.layout.tp, place_.tensor),
        ParameterSet::kDense);
  }
  // Gate and up, each divided by outputs.
  static Ranges halves(std::int64_t inter, int parts, int place) {
    const IndexRange own = part(inter, parts, place);
    return {own, {inter + own.begin, own.count}};
  }
  ParameterSet whole_set() const {
    return plan_.layout.tp == 1 ? ParameterSet::kDense : ParameterSet::kReplicated;
  }

  void add_attention() {
    const Attention& a = plan_.model.attention;
    const std::int64_t hidden = plan_.model.hidden;
    add_norm("attention.norm", hidden);
    if (a.q_lora_rank > 0) {
      add_whole("attention.q_down", a.q_lora_rank, hidden);
      add_norm("attention.q_norm", a.q_lora_rank);
      add_by_rows("attention.q_up", std::int64_t{a.heads} * a.qk_dim(), a.q_lora_rank);
    } else {
      add_by_rows("attention.q_proj", std::int64_t{a.heads} * a.qk_dim(), hidden);
    }
    add_whole("attention.kv_down", a.kv_lora_rank + a.qk_rope_dim, hidden);
    add_norm("attention.kv_norm", a.kv_lora_rank);
    add_by_rows("attention.kv_up", std::int64_t{a.heads} * (a.qk_nope_dim + a.v_dim),
                a.kv_lora_rank);
    add_by_columns("attention.o_proj", hidden, std::int64_t{a.heads} * a.v_dim);
  }

  void add_experts() {
    const Model& model = plan_.model;
    const Layout& layout = plan_.layout;
    const std::int64_t hidden = model.hidden;
    const std::int64_t inter = model.moe.inter;
    add_norm("experts.norm", hidden);
    add_whole("experts.router", model.moe.experts, hidden);
    const int local = model.moe.experts / layout.ep;
    // All first layers, then all second ones, so that each is one array over the local experts.
    const auto name = [&](int expert, const char* matrix) {
      return fmt::format("experts.{} {}", place_.expert * local + expert, matrix);
    };
    for (int expert = 0; expert < local; ++expert) {
      add(name(expert, "fc1"), 2 * inter, hidden, halves(inter, layout.etp, place_.expert_tensor),
          {0, hidden}, ParameterSet::kExpert);
    }
    for (int expert = 0; expert < local; ++expert) {
      add(name(expert, "fc2"), hidden, inter, {{0, hidden}},
          part(inter, layout.etp, place_.expert_tensor), ParameterSet::kExpert);
    }
    if (model.moe.shared_experts > 0) {
      const std::int64_t shared = inter * model.moe.shared_experts;
      add("experts.shared fc1", 2 * shared, hidden, halves(shared, layout.tp, place_.tensor),
          {0, hidden}, ParameterSet::kDense);
      add_by_columns("experts.shared fc2", hidden, shared);
    }
  }

  void add_unit(LayerKind kind) {
    const std::int64_t hidden = plan_.model.hidden;
    switch (kind) {
      case LayerKind::kEmbedding: ++embedding_uses_; break;
      case LayerKind::kDense:
        add_attention();
        add_norm("mlp.norm", hidden);
        add("mlp.fc1", 2 * plan_.model.dense_inter, hidden,
            halves(plan_.model.dense_inter, plan_.layout.tp, place_.tensor), {0, hidden},
            ParameterSet::kDense);
        add_by_columns("mlp.fc2", hidden, plan_.model.dense_inter);
        break;
      case LayerKind::kMoe:
        add_attention();
        add_experts();
        break;
      case LayerKind::kMtp:
        add_norm("hidden norm", hidden);
        add_norm("embedding norm", hidden);
        add_whole("projection", hidden, 2 * hidden);
        add_attention();
        add_experts();
        add_norm("final norm", hidden);
        ++embedding_uses_;
        ++head_uses_;
        break;
      case LayerKind::kHead:
        add_norm("final norm", hidden);
        ++head_uses_;
        break;
    }
  }

  void add_vocabulary() {
    layer_ = -1;
    const auto add_matrix = [&](const char* name, int uses) {
      if (uses == 0) return;
      prefix_ = name;
      add_by_rows("weight", plan_.model.vocab, plan_.model.hidden);
      result_.blocks.back().uses = uses;
    };
    add_matrix("embedding", embedding_uses_);
    add_matrix("head", head_uses_);
  }

  void place_in_groups() {
    const Rank own(place_.pipeline);
    for (const ParameterGroup& group :
         parameter_groups(plan_.model, plan_.layout, plan_.schedule)) {
      if (std::find(group.ranks.begin(), group.ranks.end(), own) == group.ranks.end()) continue;
      const auto number = static_cast<int>(result_.groups.size());
      HeldGroup held{group.set, 0, group.ranks, group.replicas};
      for (std::size_t index = 0; index < result_.blocks.size(); ++index) {
        ParameterBlock& block = result_.blocks[index];
        if (block.group >= 0 || set_of(block, sets_[index]) != group.set) continue;
        block.group = number;
        block.offset = held.elements;
        held.elements += block.elements();
      }
      ORRERY_CHECK(std::abs(static_cast<double>(held.elements) - group.parameters) < 0.5,
                   "{}: {} elements laid out, {} counted", to_string(group.set), held.elements,
                   group.parameters);
      result_.groups.push_back(std::move(held));
    }
    for (const ParameterBlock& block : result_.blocks)
      ORRERY_CHECK(block.group >= 0, "{} is in no group", block.name);
  }

  // Embedding and head have groups of their own where they are reduced apart.
  ParameterSet set_of(const ParameterBlock& block, ParameterSet set) const {
    const auto apart = [&](ParameterSet wanted) {
      const auto groups = parameter_groups(plan_.model, plan_.layout, plan_.schedule);
      return std::any_of(groups.begin(), groups.end(),
                         [&](const ParameterGroup& group) { return group.set == wanted; });
    };
    if (block.name == "embedding weight" && apart(ParameterSet::kEmbedding))
      return ParameterSet::kEmbedding;
    if (block.name == "head weight" && apart(ParameterSet::kHead)) return ParameterSet::kHead;
    return set;
  }

  const Plan& plan_;
  GpuPlace place_;
  GpuParameters result_;
  std::vector<ParameterSet> sets_;  // by block
  std::string prefix_;
  Stage stage_;
  int layer_ = 0;
  int embedding_uses_ = 0;
  int head_uses_ = 0;
};

std::uint64_t name_seed(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (char letter : name) hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3;
  return hash;
}

}  // namespace

std::int64_t ParameterBlock::held_rows() const {
  std::int64_t sum = 0;
  for (const IndexRange& range : rows_held) sum += range.count;
  return sum;
}

int GpuParameters::find(std::string_view name) const {
  const auto found = std::find_if(blocks.begin(), blocks.end(),
                                  [&](const ParameterBlock& block) { return block.name == name; });
  return found == blocks.end() ? -1 : static_cast<int>(found - blocks.begin());
}

GpuParameters gpu_parameters(const Plan& plan, const GpuPlace& place) {
  const Model& model = plan.model;
  if (model.attention.kind != AttentionKind::kMla) {
    throw InputError(fmt::format(
        "{}: real runs carry out models with MLA attention; this one has GQA", model.name));
  }
  if (model.tied_embeddings) {
    throw InputError(fmt::format(
        "{}: real runs need an output head of its own (tied_embeddings = false)", model.name));
  }
  if (model.dense_layers > 0 && !model.gated_mlp) {
    throw InputError(
        fmt::format("{}: real runs carry out MLPs with a gate (gated_mlp = true)", model.name));
  }
  if (model.mtp_depth > 1) {
    throw InputError(fmt::format("{}: real runs carry out at most one MTP module, the model has {}",
                                 model.name, model.mtp_depth));
  }
  if (plan.layout.precision == Precision::kFp8Tensor) {
    throw InputError("real runs round to FP8 with 1x128 scales: precision=fp8, or bf16");
  }
  if (plan.layout.attention != AttentionKernels::kFused)
    throw InputError("real runs keep no attention scores: attention=fused");
  if (plan.layout.exchange != ExchangeKernels::kDeepEp)
    throw InputError("real runs send a token once to a GPU: exchange=deepep");
  if (plan.layout.cp > 1) throw InputError("real runs do not carry out context parallelism: cp=1");
  if (plan.layout.zero_stage > 1)
    throw InputError("real runs do not carry out ZeRO stages 2 and 3: zero=0 or zero=1");
  return Collector(plan, place).collect();
}

std::string unit_name(const Layout& layout, Stage stage, int layer) {
  int layers = 0;
  int modules = 0;
  for (std::size_t at = 0; at <= stage.index(); ++at) {
    const std::vector<LayerKind>& entries = layout.stage_map[at];
    for (std::size_t entry = 0; entry < entries.size(); ++entry) {
      const bool wanted = at == stage.index() && static_cast<int>(entry) == layer;
      switch (entries[entry]) {
        case LayerKind::kEmbedding:
          if (wanted) return "embedding";
          break;
        case LayerKind::kHead:
          if (wanted) return "head";
          break;
        case LayerKind::kMtp:
          if (wanted) return fmt::format("mtp {}", modules);
          ++modules;
          break;
        case LayerKind::kDense:
        case LayerKind::kMoe:
          if (wanted) return fmt::format("layer {}", layers);
          ++layers;
          break;
      }
    }
  }
  return "?";
}

// Every element has a generator of its own, seeded by its place in the whole tensor.
template <class T>
void initialise(const ParameterBlock& block, const Recipe& recipe, T* values) {
  if (block.is_norm) {
    std::fill(values, values + block.elements(), T{1});
    return;
  }
  const std::uint64_t seed = name_seed(block.name) ^ (recipe.seed * 0x9e3779b97f4a7c15);
  for (const IndexRange& rows : block.rows_held) {
    for (std::int64_t row = rows.begin; row < rows.begin + rows.count; ++row) {
      for (std::int64_t column = block.columns_held.begin;
           column < block.columns_held.begin + block.columns_held.count; ++column) {
        const auto place = static_cast<std::uint64_t>(row * block.columns + column);
        *values++ =
            static_cast<T>(recipe.init_std * Random(seed + place * 0xd1342543de82ef95).normal());
      }
    }
  }
}

template void initialise<float>(const ParameterBlock&, const Recipe&, float*);
template void initialise<double>(const ParameterBlock&, const Recipe&, double*);

}  // namespace orrery
