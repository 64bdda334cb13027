#include "workload/cell_graph.hpp"

#include <algorithm>
#include <boost/graph/compressed_sparse_row_graph.hpp>
#include <boost/graph/strong_components.hpp>
#include <boost/graph/topological_sort.hpp>
#include <deque>
#include <iterator>
#include <utility>

namespace orrery {
namespace {

using Graph = boost::compressed_sparse_row_graph<boost::directedS>;

Graph boost_graph(std::span<const CellWait> waits, int cells) {
  std::vector<std::pair<int, int>> edges;
  edges.reserve(waits.size());
  for (const CellWait& wait : waits) edges.emplace_back(wait.before, wait.after);
  return Graph(boost::edges_are_unsorted_multi_pass, edges.begin(), edges.end(),
               static_cast<std::size_t>(cells));
}

int count_stages(const Schedule& schedule) {
  int stages = 0;
  for (const auto& chunks : schedule.chunks) {
    for (const ChunkPlace& place : chunks) stages = std::max(stages, place.stage.value + 1);
  }
  return stages;
}

// The vertices that do a kind of work, by micro-batch and stage (a micro-batch has one direction).
// Of duplicates the first counts: the others are the checker's business.
class WorkTable {
 public:
  WorkTable(int microbatches, int stages)
      : stages_(static_cast<std::size_t>(stages)),
        vertices_(static_cast<std::size_t>(microbatches) * stages_, -1) {}

  void add(Microbatch microbatch, Stage stage, int vertex) {
    int& entry = at(microbatch, stage);
    if (entry < 0) entry = vertex;
  }
  // -1 where nobody does that work.
  int find(Microbatch microbatch, int stage) const {
    return vertices_[microbatch.index() * stages_ + static_cast<std::size_t>(stage)];
  }

 private:
  int& at(Microbatch microbatch, Stage stage) {
    return vertices_[microbatch.index() * stages_ + stage.index()];
  }

  std::size_t stages_;
  std::vector<int> vertices_;
};

}  // namespace

std::optional<ChunkPlace> resolve(const Schedule& schedule, Rank rank, const Half& half) {
  const auto& chunks = schedule.chunks[rank.index()];
  if (!half.chunk.valid() || half.chunk.index() >= chunks.size()) return std::nullopt;
  const ChunkPlace place = chunks[half.chunk.index()];
  const Schedule::Range range = schedule.microbatches_of(place.direction);
  const int microbatch = half.microbatch.value;
  if (microbatch < range.first || microbatch >= range.last) return std::nullopt;
  return place;
}

CellGraph::CellGraph(const Schedule& schedule) {
  const int stages = count_stages(schedule);
  WorkTable forwards(schedule.microbatches, stages);
  WorkTable gradients(schedule.microbatches, stages);

  struct Places {
    std::optional<ChunkPlace> forward, backward;
  };
  std::vector<Places> places;
  std::vector<const Cell*> cells;
  for (int rank = 0; rank < schedule.pp(); ++rank) {
    const auto& list = schedule.ranks[static_cast<std::size_t>(rank)];
    for (std::size_t index = 0; index < list.size(); ++index) {
      const Cell& cell = list[index];
      const int vertex = static_cast<int>(positions_.size());
      Places place;
      if (cell.has_forward()) place.forward = resolve(schedule, Rank{rank}, cell.forward);
      if (cell.kind != CellKind::kF) place.backward = resolve(schedule, Rank{rank}, cell.backward);
      if (place.forward) forwards.add(cell.forward.microbatch, place.forward->stage, vertex);
      if (place.backward && cell.has_input_gradient()) {
        gradients.add(cell.backward.microbatch, place.backward->stage, vertex);
      }
      positions_.push_back({Rank{rank}, static_cast<int>(index)});
      places.push_back(place);
      cells.push_back(&cell);
    }
  }

  first_wait_.push_back(0);
  for (int vertex = 0; vertex < this->cells(); ++vertex) {
    const auto& [forward, backward] = places[static_cast<std::size_t>(vertex)];
    const Cell& cell = *cells[static_cast<std::size_t>(vertex)];
    const auto wait_for = [&](int before, WaitKind kind) {
      if (before < 0) return;
      waits_.push_back({before, vertex, kind, position(before).rank != position(vertex).rank});
    };
    // A wait within one stage matters only where the list order contradicts it (or one cell holds
    // both).
    const auto wait_if_later = [&](int before, WaitKind kind) {
      if (before >= vertex) wait_for(before, kind);
    };

    if (position(vertex).cell > 0) wait_for(vertex - 1, WaitKind::kRankOrder);
    if (forward && forward->stage.value > 0) {
      wait_for(forwards.find(cell.forward.microbatch, forward->stage.value - 1),
               WaitKind::kForward);
    }
    if (backward && cell.has_input_gradient()) {
      const Microbatch microbatch = cell.backward.microbatch;
      const int stage = backward->stage.value;
      if (stage + 1 < stages) wait_for(gradients.find(microbatch, stage + 1), WaitKind::kGradient);
      wait_if_later(forwards.find(microbatch, stage), WaitKind::kOwnForward);
    } else if (backward) {
      wait_if_later(gradients.find(cell.backward.microbatch, backward->stage.value),
                    WaitKind::kOwnInputGradient);
    }
    first_wait_.push_back(waits_.size());
  }
  sort();
}

void CellGraph::sort() {
  const Graph graph = boost_graph(waits_, cells());
  order_.reserve(positions_.size());
  try {
    // Boost writes the vertices in reverse topological order.
    boost::topological_sort(graph, std::back_inserter(order_));
    std::reverse(order_.begin(), order_.end());
  } catch (const boost::not_a_dag&) {
    order_.clear();
  }
}

namespace {

// The cheapest walk from `start` back to itself inside its strong component: a list-order wait
// costs 0, any other 1 (0-1 breadth-first search), because it is the other waits that have to be
// told. Empty if none is cheaper than `bound`.
class CycleSearch {
 public:
  CycleSearch(std::span<const CellWait> waits, int cells) {
    const Graph graph = boost_graph(waits, cells);
    component_.resize(static_cast<std::size_t>(cells));
    boost::strong_components(
        graph, boost::make_iterator_property_map(component_.begin(),
                                                 boost::get(boost::vertex_index, graph)));
    // Sorted by `before`: the waits that leave a vertex.
    leaving_.assign(waits.begin(), waits.end());
    std::erase_if(leaving_, [&](const CellWait& wait) { return !inside(wait); });
    std::stable_sort(leaving_.begin(), leaving_.end(),
                     [](const CellWait& a, const CellWait& b) { return a.before < b.before; });
    first_.assign(static_cast<std::size_t>(cells) + 1, 0);
    for (const CellWait& wait : leaving_) ++first_[static_cast<std::size_t>(wait.before) + 1];
    for (std::size_t vertex = 0; vertex + 1 < first_.size(); ++vertex) {
      first_[vertex + 1] += first_[vertex];
    }
  }

  // Every cycle has a wait that is no list order; its `after` is where a search can begin.
  std::vector<int> starts() const {
    std::vector<int> vertices;
    for (const CellWait& wait : leaving_) {
      if (wait.kind != WaitKind::kRankOrder) vertices.push_back(wait.after);
    }
    std::sort(vertices.begin(), vertices.end());
    vertices.erase(std::unique(vertices.begin(), vertices.end()), vertices.end());
    return vertices;
  }

  std::vector<CellWait> from(int start, int bound) const {
    std::vector<int> cost(component_.size(), -1);
    std::vector<const CellWait*> reached_by(component_.size(), nullptr);
    std::deque<int> queue{start};
    cost[static_cast<std::size_t>(start)] = 0;
    const CellWait* closing = nullptr;
    int best = bound;
    std::vector<bool> done(component_.size(), false);
    while (!queue.empty()) {
      const int vertex = queue.front();
      queue.pop_front();
      const auto at = static_cast<std::size_t>(vertex);
      if (done[at]) continue;
      done[at] = true;
      for (std::size_t index = first_[at]; index < first_[at + 1]; ++index) {
        const CellWait& wait = leaving_[index];
        const bool listed = wait.kind == WaitKind::kRankOrder;
        const int there = cost[at] + (listed ? 0 : 1);
        if (there >= best) continue;
        if (wait.after == start) {
          best = there;
          closing = &wait;
          continue;
        }
        const auto next = static_cast<std::size_t>(wait.after);
        if (cost[next] >= 0 && cost[next] <= there) continue;
        cost[next] = there;
        reached_by[next] = &wait;
        if (listed) {
          queue.push_front(wait.after);
        } else {
          queue.push_back(wait.after);
        }
      }
    }
    std::vector<CellWait> cycle;
    for (const CellWait* wait = closing; wait != nullptr;
         wait = wait->before == start ? nullptr
                                      : reached_by[static_cast<std::size_t>(wait->before)]) {
      cycle.push_back(*wait);
    }
    std::reverse(cycle.begin(), cycle.end());
    return cycle;
  }

 private:
  bool inside(const CellWait& wait) const {
    return component_[static_cast<std::size_t>(wait.before)] ==
           component_[static_cast<std::size_t>(wait.after)];
  }

  std::vector<int> component_;
  std::vector<CellWait> leaving_;
  std::vector<std::size_t> first_;
};

int told_waits(std::span<const CellWait> cycle) {
  return static_cast<int>(std::count_if(cycle.begin(), cycle.end(), [](const CellWait& wait) {
    return wait.kind != WaitKind::kRankOrder;
  }));
}

}  // namespace

std::vector<CellWait> CellGraph::short_cycle() const {
  if (!deadlocks()) return {};
  constexpr std::size_t kStarts = 256;
  const CycleSearch search(waits_, cells());
  const std::vector<int> starts = search.starts();
  const std::size_t stride = std::max<std::size_t>(1, starts.size() / kStarts);
  std::vector<CellWait> best;
  int bound = cells() + 1;
  for (std::size_t index = 0; index < starts.size(); index += stride) {
    std::vector<CellWait> cycle = search.from(starts[index], bound);
    if (cycle.empty()) continue;
    bound = told_waits(cycle);
    best = std::move(cycle);
  }
  return best;
}

}  // namespace orrery
