#include "kernels/cuda/cudnn_graph.cuh"

namespace orrery::cuda {

// Of a handle; of none where that is null.
CudnnGraph::Descriptor CudnnGraph::made_of_operations(cudnnHandle_t handle) {
  const Descriptor graph = make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  if (handle != nullptr)
    set(graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
  set(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
      static_cast<std::int64_t>(operations_.size()), operations_.data());
  finish(graph);
  return graph;
}

// Of the graph's own device where `device` is null; the best first.
std::vector<CudnnGraph::Descriptor> CudnnGraph::engines_of(Descriptor graph, Descriptor device) {
  const Descriptor heuristic = make(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
  link(heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  set(heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
  if (device != nullptr) link(heuristic, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device);
  finish(heuristic);
  std::int64_t count = 0;
  check_cudnn(cudnnBackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                       CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr),
              "cuDNN engines");
  std::vector<Descriptor> engines(static_cast<std::size_t>(count));
  for (Descriptor& engine : engines) engine = make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  check_cudnn(
      cudnnBackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                               CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &count, engines.data()),
      "cuDNN engines");
  engines.resize(static_cast<std::size_t>(count));
  return engines;
}

void CudnnGraph::build(cudnnHandle_t handle) {
  const std::vector<Descriptor> engines = engines_of(made_of_operations(handle), nullptr);
  std::string refusals;
  for (const Descriptor engine : engines) {
    const Descriptor plan = make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    link(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, engine);
    set(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
    const cudnnStatus_t status = cudnnBackendFinalize(plan);
    if (status != CUDNN_STATUS_SUCCESS) {
      refusals += std::string(" ") + cudnnGetErrorString(status);
      continue;
    }
    std::int64_t got = 0;
    check_cudnn(cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                         CUDNN_TYPE_INT64, 1, &got, &workspace_bytes_),
                "cuDNN workspace");
    plan_ = plan;
    return;
  }
  throw DeviceError("cuDNN: none of " + std::to_string(engines.size()) +
                    " engines supports the graph:" + refusals);
}

ProposedEngines CudnnGraph::engines_for(const std::string& device) {
  const Descriptor properties = make(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  set(properties, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
      static_cast<std::int64_t>(device.size()), device.data());
  finish(properties);
  ProposedEngines found;
  for (const Descriptor engine : engines_of(made_of_operations(nullptr), properties)) {
    ++found.count;
    const Descriptor plan = make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    link(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, engine);
    link(plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, properties);
    if (cudnnBackendFinalize(plan) == CUDNN_STATUS_SUCCESS) {
      ++found.plans;
    } else {
      char why[1024] = {};
      cudnnGetLastErrorString(why, sizeof why);
      found.stopped = why;
    }
  }
  return found;
}

void CudnnGraph::run(cudnnHandle_t handle, const std::vector<Binding>& bindings, void* workspace,
                     cudaStream_t stream) const {
  check_cudnn(cudnnSetStream(handle, stream), "cuDNN stream");
  std::vector<std::int64_t> ids;
  std::vector<void*> data;
  for (const auto& [id, pointer] : bindings) {
    ids.push_back(id);
    data.push_back(const_cast<void*>(pointer));  // the API has one type for inputs and outputs
  }
  Descriptor pack = nullptr;
  check_cudnn(cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack),
              "cuDNN variant pack");
  const auto count = static_cast<std::int64_t>(ids.size());
  set(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, ids.data());
  set(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, data.data());
  set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
  finish(pack);
  const cudnnStatus_t status = cudnnBackendExecute(handle, plan_, pack);
  cudnnBackendDestroyDescriptor(pack);
  check_cudnn(status, "cuDNN execution");
}

}  // namespace orrery::cuda
