# Third-party packages, all from Debian 12 (scripts/bootstrap.sh installs them).
find_package(fmt 9.1 REQUIRED)
find_package(tomlplusplus 3.3 REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(CLI11 2.1 REQUIRED)
find_package(Boost 1.74 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(benchmark 1.7 REQUIRED)
find_package(Catch2 2.13 REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(SIMGRID REQUIRED IMPORTED_TARGET simgrid>=3.32)
find_package(Threads REQUIRED)

# Optional.
pkg_check_modules(OPENBLAS IMPORTED_TARGET openblas)
pkg_check_modules(MPI IMPORTED_TARGET ompi-c)
