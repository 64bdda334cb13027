# Compile settings and the one function that declares a library per folder.

add_library(orrery_settings INTERFACE)
target_include_directories(orrery_settings INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(orrery_settings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor)
# GCC 12 warns wrongly about std::string's operator+ (GCC bug 105651).
target_compile_options(orrery_settings INTERFACE -Wno-restrict)
if(ORRERY_WERROR)
  target_compile_options(orrery_settings INTERFACE -Werror)
endif()
if(ORRERY_SANITIZE)
  target_link_options(orrery_settings INTERFACE -fsanitize=${ORRERY_SANITIZE})
endif()

# orrery_sanitize(target folder): where ORRERY_SANITIZE asks for it. Of ORRERY_SANITIZE_ONLY's folders unoptimised; the
# others are then what the release build has compiled already, and come out of the compiler's cache.
function(orrery_sanitize target folder)
  if(NOT ORRERY_SANITIZE)
    return()
  endif()
  if(ORRERY_SANITIZE_ONLY AND NOT folder IN_LIST ORRERY_SANITIZE_ONLY)
    return()
  endif()
  target_compile_options(${target} PRIVATE -fsanitize=${ORRERY_SANITIZE} -fno-omit-frame-pointer)
  if(ORRERY_SANITIZE_ONLY)
    target_compile_options(${target} PRIVATE -O0 -g1 -UNDEBUG)
  endif()
endfunction()

# Compiled with little optimisation, where time goes into compiling rather than running: the command line and most tests.
function(orrery_compile_fast target)
  if(CMAKE_BUILD_TYPE STREQUAL "Release")
    target_compile_options(${target} PRIVATE -O1)
  endif()
endfunction()

# orrery_library(folder DEPENDS public... PRIVATE private... FOLDERS inner...): every .cpp of the folder and of the inner
# folders named, benchmarks apart.
function(orrery_library folder)
  cmake_parse_arguments(ARG "" "" "DEPENDS;PRIVATE;FOLDERS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.cpp)
  foreach(inner IN LISTS ARG_FOLDERS)
    file(GLOB inner_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/${inner}/*.cpp)
    list(APPEND sources ${inner_sources})
  endforeach()
  list(FILTER sources EXCLUDE REGEX "_bench\\.cpp$")
  add_library(orrery_${folder} STATIC ${sources})
  target_link_libraries(orrery_${folder} PUBLIC orrery_settings ${ARG_DEPENDS} PRIVATE ${ARG_PRIVATE})
  orrery_sanitize(orrery_${folder} ${folder})
endfunction()

# orrery_benchmark(folder/name_bench.cpp libraries...): a Google Benchmark program named after the file.
function(orrery_benchmark source)
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${CMAKE_SOURCE_DIR}/${source})
  target_link_libraries(${name} PRIVATE ${ARGN} benchmark::benchmark_main)
  orrery_sanitize(${name} benchmarks)
endfunction()
