#include "kernels/cuda/cudnn_graph.cuh"

namespace orrery::cuda {

void CudnnGraph::build(cudnnHandle_t handle) {
  const Descriptor graph = make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  set(graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
  set(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
      static_cast<std::int64_t>(operations_.size()), operations_.data());
  finish(graph);
  const Descriptor heuristic = make(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
  link(heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  set(heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
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
  std::string refusals;
  for (std::int64_t engine = 0; engine < count; ++engine) {
    const Descriptor plan = make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    link(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, engines[static_cast<std::size_t>(engine)]);
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
  throw DeviceError("cuDNN: none of " + std::to_string(count) +
                    " engines supports the graph:" + refusals);
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
