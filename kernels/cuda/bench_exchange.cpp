#include "kernels/cuda/bench_case.cuh"
#include "kernels/cuda/combine.hpp"
#include "kernels/cuda/dispatch.hpp"
#include "kernels/cuda/quantise.hpp"

namespace orrery::cuda {
namespace {

using kernels::ExchangeShape;
using Numbers = std::vector<std::int32_t>;

// 64 ranks in 8 nodes, 256 experts, 8 of them a token on at most 4 nodes.
constexpr int kSlots = 8, kNodes = 8, kRanksOfNode = 8, kNodesOfToken = 4;
constexpr int kExpertsOfRank = kExperts, kExpertsOfNode = kRanksOfNode * kExpertsOfRank;
constexpr std::int64_t kTiles = kHidden / 128;

// Eight experts out of those of four nodes, all as likely as each other.
Numbers choices(std::int64_t tokens) {
  std::mt19937 generator(7);
  Numbers experts;
  Numbers nodes(kNodes), open(kNodesOfToken * kExpertsOfNode);
  for (int node = 0; node < kNodes; ++node) nodes[size(node)] = node;
  for (std::int64_t token = 0; token < tokens; ++token) {
    std::shuffle(nodes.begin(), nodes.end(), generator);
    for (int at = 0; at < static_cast<int>(open.size()); ++at)
      open[size(at)] = nodes[size(at / kExpertsOfNode)] * kExpertsOfNode + at % kExpertsOfNode;
    std::shuffle(open.begin(), open.end(), generator);
    experts.insert(experts.end(), open.begin(), open.begin() + kSlots);
  }
  return experts;
}

struct Hop {
  std::string name;
  ExchangeShape shape;
  Numbers experts;
  std::vector<std::int64_t> rows;  // to each destination

  std::int64_t sent() const {
    std::int64_t sum = 0;
    for (std::int64_t count : rows) sum += count;
    return sum;
  }
};

Hop hop(std::string name, ExchangeShape shape, Numbers experts) {
  shape.tokens = static_cast<std::int64_t>(experts.size()) / kSlots;
  std::vector<std::int64_t> rows(size(shape.destinations));
  for (std::int64_t token = 0; token < shape.tokens; ++token) {
    for (int slot = 0; slot < kSlots; ++slot) {
      const int destination =
          kernels::new_destination(shape, experts.data() + token * kSlots, slot);
      if (destination >= 0) ++rows[size(destination)];
    }
  }
  return {std::move(name), shape, std::move(experts), std::move(rows)};
}

// The two hops of a node-limited exchange, and the single one that it replaces.
std::vector<Hop> hops() {
  const ExchangeShape across{0, kSlots, kNodes, 0, kExpertsOfNode};
  // A rank of node 0 gets the tokens for its node from the rank of its number in every node.
  Numbers forwarded;
  const Numbers of_all = choices(kNodes * kTokens);
  for (auto token = of_all.begin(); token != of_all.end(); token += kSlots) {
    if (kernels::goes_to(across, &*token, 0))
      forwarded.insert(forwarded.end(), token, token + kSlots);
  }
  return {hop("nodes", across, choices(kTokens)),
          hop("ranks of a node", {0, kSlots, kRanksOfNode, 0, kExpertsOfRank}, forwarded),
          hop("ranks", {0, kSlots, kNodes * kRanksOfNode, 0, kExpertsOfRank}, choices(kTokens))};
}

// A hop's map on the device, every destination with a buffer of its own.
class DeviceHop {
 public:
  explicit DeviceHop(const Hop& hop)
      : hop_(hop),
        experts_(hop.experts),
        destination_of_(hop.experts.size()),
        row_of_(hop.experts.size()),
        counts_(size(hop.shape.destinations) * size(hop.shape.destinations)),
        counts_of_member_(std::vector<std::int32_t*>(size(hop.shape.destinations), counts_.get())) {
  }

  void make_map(cudaStream_t on) const {
    map_exchange(hop_.shape, experts_.get(), 0, counts_of_member_.get(), destination_of_.get(),
                 row_of_.get(), on);
  }
  ExchangeMap map() const {
    return {hop_.shape.tokens, kSlots, destination_of_.get(), row_of_.get()};
  }

  // Addresses of the destinations' buffers, one after the other in `all`.
  template <class T>
  Device<T*> addresses(const Device<T>& all, std::int64_t columns) const {
    std::vector<T*> table;
    T* next = all.get();
    for (std::int64_t rows : hop_.rows) {
      table.push_back(next);
      next += rows * columns;
    }
    return Device<T*>(table);
  }

 private:
  Hop hop_;
  Device<std::int32_t> experts_, destination_of_, row_of_, counts_;
  Device<std::int32_t*> counts_of_member_;
};

std::string by(int ctas) {
  return " by " + std::to_string(ctas) + " SMs";
}

Case map_case(const Hop& hop) {
  Case made{"map of an exchange, " + hop.name, sizes({hop.shape.tokens, kSlots}), "copy"};
  made.bytes = 3.0 * sizeof(std::int32_t) * static_cast<double>(hop.shape.tokens * kSlots);
  made.make = [hop](cudaStream_t) -> Launch {
    auto device = std::make_shared<DeviceHop>(hop);
    return [=](cudaStream_t on) { device->make_map(on); };
  };
  return made;
}

// Arrays of which a row travels, and where they go.
template <class T>
struct Travelling {
  Travelling(const DeviceHop& hop, const Hop& of, std::shared_ptr<Device<T>> source,
             std::int64_t columns)
      : from(std::move(source)), to(size(of.sent() * columns)), table(hop.addresses(to, columns)) {}
  SentRows rows(std::int64_t bytes, std::int64_t stride = 0) const {
    return {bytes, from->get(), reinterpret_cast<void* const*>(table.get()), stride};
  }
  std::shared_ptr<Device<T>> from;
  Device<T> to;
  Device<T*> table;
};

Case dispatch_case(const Hop& hop, int ctas) {
  constexpr std::int64_t kRow = kHidden + 4 * (kTiles + 2 * kSlots);
  const std::int64_t tokens = hop.shape.tokens, stride = scale_stride(tokens);
  Case made{"dispatch E4M3 to " + hop.name + by(ctas), sizes({tokens, kHidden}), "copy"};
  made.sms = ctas;
  made.bytes = static_cast<double>(kRow * (tokens + hop.sent()));
  made.make = [=](cudaStream_t setup) -> Launch {
    auto device = std::make_shared<DeviceHop>(hop);
    device->make_map(setup);
    auto source = std::make_shared<Device<std::uint8_t>>(filled<std::uint8_t>(
        tokens * kHidden, [](float value) { return static_cast<std::uint8_t>(64 * value); }));
    auto choice = std::make_shared<Device<std::int32_t>>(hop.experts);
    auto codes =
        std::make_shared<Travelling<std::uint8_t>>(*device, hop, std::move(source), kHidden);
    auto scales =
        std::make_shared<Travelling<float>>(*device, hop, floats(kTiles * stride), kTiles);
    auto weights =
        std::make_shared<Travelling<float>>(*device, hop, floats(tokens * kSlots), kSlots);
    auto experts =
        std::make_shared<Travelling<std::int32_t>>(*device, hop, std::move(choice), kSlots);
    return [=](cudaStream_t on) {
      const SentRows arrays[] = {codes->rows(kHidden), scales->rows(4 * kTiles, stride),
                                 weights->rows(4 * kSlots), experts->rows(4 * kSlots)};
      dispatch(device->map(), arrays, {}, ctas, on);
    };
  };
  return made;
}

Case combine_case(const Hop& hop, int ctas) {
  const std::int64_t tokens = hop.shape.tokens;
  Case made{"combine BF16 of " + hop.name + by(ctas), sizes({tokens, kHidden}), "copy"};
  made.sms = ctas;
  made.bytes = 2.0 * static_cast<double>(kHidden * (tokens + hop.sent()));
  made.make = [=](cudaStream_t setup) -> Launch {
    auto device = std::make_shared<DeviceHop>(hop);
    device->make_map(setup);
    auto y = bf16(hop.sent() * kHidden), out = room<Bf16>(tokens * kHidden);
    auto from = std::make_shared<Device<Bf16*>>(device->addresses(*y, kHidden));
    return [=](cudaStream_t on) {
      combine(device->map(), {kHidden, from->get(), out->get()}, {}, {}, ctas, on);
      static_cast<void>(y);  // alive as long as the table of its addresses
    };
  };
  return made;
}

}  // namespace

std::vector<Case> exchange_cases() {
  std::vector<Case> cases;
  for (const Hop& hop : hops()) {
    cases.push_back(map_case(hop));
    for (int ctas : {8, 16, 20, 24}) cases.push_back(dispatch_case(hop, ctas));
    for (int ctas : {8, 16, 20, 24}) cases.push_back(combine_case(hop, ctas));
  }
  return cases;
}

}  // namespace orrery::cuda
