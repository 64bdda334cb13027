// The tests of the CUDA kernels; exits with 3 where there is no GPU.
#define CATCH_CONFIG_RUNNER
#include <cuda_runtime.h>

#include <catch2/catch.hpp>
#include <cstdio>

int main(int argc, char** argv) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::fprintf(stderr, "skipped: there is no GPU\n");
    return 3;
  }
  return Catch::Session().run(argc, argv);
}
