# CUDA kernels for Hopper (sm_90a) and, in BF16 alone, Ampere (sm_80: A100), where the toolkit, cuBLASLt and cuDNN are installed. Sets ORRERY_HAVE_CUDA.
find_program(ORRERY_NVCC nvcc HINTS $ENV{CUDA_HOME}/bin /usr/local/cuda/bin)
find_library(ORRERY_CUBLASLT cublasLt HINTS $ENV{CUDA_HOME}/lib64 /usr/local/cuda/lib64)
find_library(ORRERY_CUDNN cudnn HINTS $ENV{CUDA_HOME}/lib64 /usr/local/cuda/lib64)
if(NOT (ORRERY_NVCC AND ORRERY_CUBLASLT AND ORRERY_CUDNN))
  message(STATUS "CUDA kernels: not built (nvcc: ${ORRERY_NVCC}, cuBLASLt: ${ORRERY_CUBLASLT}, cuDNN: ${ORRERY_CUDNN})")
  return()
endif()
set(CMAKE_CUDA_COMPILER ${ORRERY_NVCC})
set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real)
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
set(ORRERY_HAVE_CUDA ON)

# CMake 3.25 does not know the flags of nvcc for C++20.
if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()

file(GLOB cuda_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/cuda/*.cu ${CMAKE_SOURCE_DIR}/kernels/cuda/*.cpp)
list(FILTER cuda_sources EXCLUDE REGEX "(bench|plugin)[^/]*\\.cpp$")
# Which kernel carries out an op is decided without CUDA, and how operands lie; here in code that a shared library can hold.
set(cuda_shared_sources replay_launch product_operands fp8 fp8_tiles)
list(TRANSFORM cuda_shared_sources REPLACE "(.+)" "${CMAKE_SOURCE_DIR}/kernels/\\1.cpp")
add_library(orrery_cuda_kernels STATIC ${cuda_sources} ${cuda_shared_sources})
target_compile_options(orrery_cuda_kernels PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>
                                                   $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow>
                                                   $<$<AND:$<BOOL:${ORRERY_WERROR}>,$<COMPILE_LANGUAGE:CXX>>:-Werror>)
target_include_directories(orrery_cuda_kernels PUBLIC ${CMAKE_SOURCE_DIR})
target_link_libraries(orrery_cuda_kernels PUBLIC CUDA::cudart_static CUDA::cublasLt ${ORRERY_CUDNN})

# What `orrery realrun` loads for its modes on a GPU (kernels/cuda_plugin.hpp): beside the executable, which links none of it.
file(GLOB plugin_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/cuda/plugin*.cpp)
add_library(orrery_cuda SHARED ${plugin_sources})
set_target_properties(orrery_cuda_kernels PROPERTIES POSITION_INDEPENDENT_CODE ON)
set_target_properties(orrery_cuda PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
target_compile_options(orrery_cuda PRIVATE -Wall -Wextra -Wshadow $<$<BOOL:${ORRERY_WERROR}>:-Werror>)
target_link_libraries(orrery_cuda PRIVATE orrery_cuda_kernels)

file(GLOB bench_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/cuda/*bench*.cpp)
add_executable(cuda_bench ${bench_sources})
target_link_libraries(cuda_bench PRIVATE orrery_cuda_kernels benchmark::benchmark nlohmann_json::nlohmann_json)
