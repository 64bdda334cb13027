#pragma once
// A graph of cuDNN's backend API (cudnn_graph.h, cuDNN 9): tensors of four dimensions, matrix
// products, pointwise operations and reductions, built into a plan and run. Private to the ops
// beside it.
#include <cudnn.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cuda/attention.hpp"
#include "kernels/cuda/device.cuh"

namespace orrery::cuda {

inline void check_cudnn(cudnnStatus_t status, const char* what) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char detail[1024] = {};
  cudnnGetLastErrorString(detail, sizeof detail);
  throw DeviceError(std::string(what) + ": " + cudnnGetErrorString(status) + " " + detail);
}

class CudnnGraph {
 public:
  using Sizes = std::array<std::int64_t, 4>;
  using Descriptor = cudnnBackendDescriptor_t;
  struct Tensor {
    Descriptor descriptor = nullptr;
    std::int64_t id = 0;
  };

  CudnnGraph() = default;
  ~CudnnGraph() {
    for (auto descriptor = all_.rbegin(); descriptor != all_.rend(); ++descriptor)
      cudnnBackendDestroyDescriptor(*descriptor);
  }
  CudnnGraph(const CudnnGraph&) = delete;
  CudnnGraph& operator=(const CudnnGraph&) = delete;

  enum class Kind { kReal, kVirtual, kByValue };
  Tensor tensor(cudnnDataType_t type, const Sizes& sizes, const Sizes& strides,
                Kind kind = Kind::kReal) {
    Tensor made{make(CUDNN_BACKEND_TENSOR_DESCRIPTOR), ++ids_};
    const std::int64_t alignment = 16;
    const bool yes = true;
    set(made.descriptor, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &made.id);
    set(made.descriptor, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(made.descriptor, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, sizes.data());
    set(made.descriptor, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides.data());
    set(made.descriptor, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    if (kind == Kind::kVirtual)
      set(made.descriptor, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &yes);
    if (kind == Kind::kByValue)
      set(made.descriptor, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &yes);
    finish(made.descriptor);
    return made;
  }

  void matmul(const Tensor& a, const Tensor& b, const Tensor& c) {
    const Descriptor kind = make(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    set(kind, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &kFloat);
    finish(kind);
    const Descriptor op = make(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    link(op, CUDNN_ATTR_OPERATION_MATMUL_ADESC, a.descriptor);
    link(op, CUDNN_ATTR_OPERATION_MATMUL_BDESC, b.descriptor);
    link(op, CUDNN_ATTR_OPERATION_MATMUL_CDESC, c.descriptor);
    link(op, CUDNN_ATTR_OPERATION_MATMUL_DESC, kind);
    add(op);
  }

  struct Pointwise {
    cudnnPointwiseMode_t mode;
    std::optional<Tensor> second = {}, third = {};
    std::int64_t axis = -1;
    cudnnDataType_t precision = CUDNN_DATA_FLOAT;
  };
  void pointwise(const Pointwise& what, const Tensor& x, const Tensor& y) {
    const Descriptor kind = make(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    set(kind, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &what.mode);
    set(kind, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &what.precision);
    if (what.axis >= 0) set(kind, CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, 1, &what.axis);
    finish(kind);
    const Descriptor op = make(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    link(op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, kind);
    link(op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x.descriptor);
    if (what.second) link(op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, what.second->descriptor);
    if (what.third) link(op, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, what.third->descriptor);
    link(op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y.descriptor);
    add(op);
  }

  void reduce(cudnnReduceTensorOp_t how, const Tensor& x, const Tensor& y) {
    const Descriptor kind = make(CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    set(kind, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &how);
    set(kind, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &kFloat);
    finish(kind);
    const Descriptor op = make(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    link(op, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x.descriptor);
    link(op, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y.descriptor);
    link(op, CUDNN_ATTR_OPERATION_REDUCTION_DESC, kind);
    add(op);
  }

  void reshape(const Tensor& x, const Tensor& y) {
    const Descriptor op = make(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
    link(op, CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x.descriptor);
    link(op, CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y.descriptor);
    add(op);
  }

  // After the last operation. Takes the first engine that supports the graph.
  void build(cudnnHandle_t handle);
  // Instead of it, without a handle, for a device that is described (kernels/cuda/attention.hpp).
  ProposedEngines engines_for(const std::string& device);
  std::int64_t workspace_bytes() const { return workspace_bytes_; }

  // Data of every tensor that is not virtual; of those by value, host memory.
  using Binding = std::pair<std::int64_t, const void*>;
  void run(cudnnHandle_t handle, const std::vector<Binding>& bindings, void* workspace,
           cudaStream_t stream) const;

 private:
  static constexpr cudnnDataType_t kFloat = CUDNN_DATA_FLOAT;

  Descriptor make(cudnnBackendDescriptorType_t type) {
    Descriptor made = nullptr;
    check_cudnn(cudnnBackendCreateDescriptor(type, &made), "cuDNN descriptor");
    all_.push_back(made);
    return made;
  }
  static void set(Descriptor descriptor, cudnnBackendAttributeName_t name,
                  cudnnBackendAttributeType_t type, std::int64_t count, const void* values) {
    check_cudnn(cudnnBackendSetAttribute(descriptor, name, type, count, values), "cuDNN attribute");
  }
  static void link(Descriptor descriptor, cudnnBackendAttributeName_t name, Descriptor other) {
    set(descriptor, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &other);
  }
  static void finish(Descriptor descriptor) {
    check_cudnn(cudnnBackendFinalize(descriptor), "cuDNN finalize");
  }
  Descriptor made_of_operations(cudnnHandle_t handle);
  std::vector<Descriptor> engines_of(Descriptor graph, Descriptor device);
  void add(Descriptor op) {
    finish(op);
    operations_.push_back(op);
  }

  std::vector<Descriptor> all_, operations_;
  Descriptor plan_ = nullptr;
  std::int64_t ids_ = 0, workspace_bytes_ = 0;
};

}  // namespace orrery::cuda
