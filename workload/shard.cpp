#include "workload/shard.hpp"

namespace orrery {

Shard make_shard(const Model& model, const Layout& layout, int sequence,
                 const RoutingSpread& spread) {
  Shard shard;
  shard.model = model;
  shard.tp = layout.tp;
  shard.cp = layout.cp;
  shard.ep = layout.ep;
  shard.etp = layout.etp;
  shard.precision = layout.precision;
  shard.recompute = layout.recompute;
  shard.attention = layout.attention;
  shard.exchange = layout.exchange;
  shard.micro_batch = layout.micro_batch;
  shard.tokens = static_cast<double>(sequence) * layout.micro_batch / layout.cp;
  shard.sequence = sequence;
  shard.spread = spread;
  // Balanced experts: an EP group of ep GPUs with T tokens each makes ep * T * top_k rows, spread
  // over ep GPUs. The etp GPUs that share an expert gather each other's tokens.
  const double dispatched = shard.local_tokens() * layout.etp;
  const double rows = dispatched * model.moe.top_k;
  shard.forward_rows = {rows, shard.all_to_all() ? rows : dispatched * spread.gpus_per_token};
  shard.backward_rows = shard.forward_rows;
  return shard;
}

}  // namespace orrery
