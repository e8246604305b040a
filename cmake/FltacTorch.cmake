# Defines the target fltac_torch (include folders, libraries, OpenMP and run path of libtorch) and FLTAC_WITH_CUDA.
#
# libtorch's own TorchConfig.cmake is not used: for a libtorch with CUDA it demands a whole CUDA toolkit, also when only
# its CPU part is wanted, and it adds flags of its own to every target.

# --- where libtorch is: LIBTORCH, Torch_DIR (as variables or in the environment), CMAKE_PREFIX_PATH, .libtorch/
set(torch_candidates "")
foreach(folder "${LIBTORCH}" "$ENV{LIBTORCH}")
  if(folder)
    list(APPEND torch_candidates "${folder}")
  endif()
endforeach()
foreach(folder "${Torch_DIR}" "$ENV{Torch_DIR}")
  if(folder)
    list(APPEND torch_candidates "${folder}/../../..")
  endif()
endforeach()
list(APPEND torch_candidates ${CMAKE_PREFIX_PATH})
foreach(folder install/torch install/libtorch torch libtorch .)
  list(APPEND torch_candidates "${PROJECT_SOURCE_DIR}/.libtorch/${folder}")
endforeach()

set(FLTAC_TORCH "")
foreach(folder IN LISTS torch_candidates)
  if(EXISTS "${folder}/lib/libtorch_cpu${CMAKE_SHARED_LIBRARY_SUFFIX}" AND EXISTS "${folder}/include/ATen/ATen.h")
    get_filename_component(FLTAC_TORCH "${folder}" ABSOLUTE)
    break()
  endif()
endforeach()
if(NOT FLTAC_TORCH)
  list(JOIN torch_candidates "\n  " tried)
  message(FATAL_ERROR "fltac: no libtorch (lib/libtorch_cpu${CMAKE_SHARED_LIBRARY_SUFFIX} and include/ATen/ATen.h) in\n"
                      "  ${tried}\nRun `npm run build:native`, which finds or installs one, or pass -DLIBTORCH=<folder>.")
endif()
set(torch_lib "${FLTAC_TORCH}/lib")

# --- its version
set(FLTAC_TORCH_VERSION "")
foreach(name include/torch/headeronly/version.h include/torch/csrc/api/include/torch/version.h)
  if(EXISTS "${FLTAC_TORCH}/${name}")
    foreach(part MAJOR MINOR PATCH)
      file(STRINGS "${FLTAC_TORCH}/${name}" line REGEX "^#define TORCH_VERSION_${part} +[0-9]+")
      string(REGEX REPLACE ".* ([0-9]+).*" "\\1" number "${line}")
      list(APPEND FLTAC_TORCH_VERSION "${number}")
    endforeach()
    list(JOIN FLTAC_TORCH_VERSION "." FLTAC_TORCH_VERSION)
    break()
  endif()
endforeach()
if(FLTAC_TORCH_VERSION VERSION_LESS 2.11 OR NOT FLTAC_TORCH_VERSION VERSION_LESS 2.14)
  message(FATAL_ERROR "fltac: libtorch 2.11 to 2.13 is required, ${FLTAC_TORCH} is '${FLTAC_TORCH_VERSION}'")
endif()
message(STATUS "fltac: libtorch ${FLTAC_TORCH_VERSION} in ${FLTAC_TORCH}")

# --- CUDA or not
set(FLTAC_WITH_CUDA OFF)
string(TOLOWER "${FLTAC_CUDA}" cuda_choice)
if(NOT cuda_choice MATCHES "^(auto|on|off)$")
  message(FATAL_ERROR "fltac: FLTAC_CUDA must be auto, on or off, not '${FLTAC_CUDA}'")
endif()
if(EXISTS "$ENV{CUDACXX}")
  set(FLTAC_NVCC "$ENV{CUDACXX}")
else()
  find_program(FLTAC_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH /usr/local/cuda PATH_SUFFIXES bin)
endif()
set(FLTAC_CUDA_REASON "FLTAC_CUDA=off")
if(NOT cuda_choice STREQUAL "off")
  if(NOT EXISTS "${torch_lib}/libtorch_cuda.so")
    set(FLTAC_CUDA_REASON "this libtorch has no CUDA")
  elseif(NOT FLTAC_NVCC)
    set(FLTAC_CUDA_REASON "no nvcc: install the CUDA toolkit or set CUDACXX")
  else()
    set(FLTAC_WITH_CUDA ON)
  endif()
  if(cuda_choice STREQUAL "on" AND NOT FLTAC_WITH_CUDA)
    message(FATAL_ERROR "fltac: FLTAC_CUDA=on, but ${FLTAC_CUDA_REASON}")
  endif()
endif()

# --- the target
add_library(fltac_torch INTERFACE)
target_include_directories(
  fltac_torch SYSTEM INTERFACE "${FLTAC_TORCH}/include" "${FLTAC_TORCH}/include/torch/csrc/api/include")
target_link_libraries(fltac_torch INTERFACE "${torch_lib}/libtorch_cpu${CMAKE_SHARED_LIBRARY_SUFFIX}"
                                            "${torch_lib}/libc10${CMAKE_SHARED_LIBRARY_SUFFIX}")

# at::parallel_for lives in headers and runs in parallel only when our files are compiled with OpenMP too. The library
# must be the one libtorch uses: a second OpenMP runtime in one process doubles the threads. So the flag is given to the
# compiler only, and the linker gets libtorch's copy by its path; the system's is used only where libtorch has none.
file(GLOB torch_openmp "${torch_lib}/libgomp*.so*" "${FLTAC_TORCH}/../torch.libs/libgomp*.so*" "${torch_lib}/libomp.dylib")
if(torch_openmp)
  list(GET torch_openmp 0 torch_openmp)
  target_link_libraries(fltac_torch INTERFACE "${torch_openmp}")
endif()
if(torch_openmp AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(fltac_torch INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:-fopenmp>")
else()
  find_package(OpenMP QUIET COMPONENTS CXX)
  if(OpenMP_CXX_FOUND AND torch_openmp)
    separate_arguments(openmp_flags UNIX_COMMAND "${OpenMP_CXX_FLAGS}")
    target_compile_options(fltac_torch INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${openmp_flags}>")
    target_include_directories(fltac_torch SYSTEM INTERFACE ${OpenMP_CXX_INCLUDE_DIRS})
  elseif(OpenMP_CXX_FOUND)
    target_link_libraries(fltac_torch INTERFACE OpenMP::OpenMP_CXX)
  else()
    message(WARNING "fltac: the compiler has no OpenMP, so fltac's own loops run on one thread "
                    "(libtorch's still use all). On macOS: brew install libomp")
  endif()
endif()

# BLAS: inside libtorch_cpu where it is built with MKL; otherwise the library libtorch itself uses.
if(APPLE)
  target_link_libraries(fltac_torch INTERFACE "-framework Accelerate")
else()
  file(GLOB torch_blas "${torch_lib}/libopenblas*.so*" "${FLTAC_TORCH}/../torch.libs/libopenblas*.so*")
  if(torch_blas)
    list(GET torch_blas 0 torch_blas)
    target_link_libraries(fltac_torch INTERFACE "${torch_blas}")
  endif()
endif()

if(FLTAC_WITH_CUDA)
  # --no-as-needed: libtorch_cuda registers its kernels when it is loaded, though nothing here names its symbols.
  target_link_libraries(fltac_torch INTERFACE "-Wl,--no-as-needed" "${torch_lib}/libtorch_cuda.so"
                                              "${torch_lib}/libc10_cuda.so" "-Wl,--as-needed")
  get_filename_component(nvcc_folder "${FLTAC_NVCC}" REALPATH)
  get_filename_component(nvcc_folder "${nvcc_folder}/../.." ABSOLUTE)
  file(GLOB wheel_cuda "${FLTAC_TORCH}/../nvidia/cu[0-9]*/include" "${FLTAC_TORCH}/../nvidia/cuda_runtime/include")
  foreach(folder "$ENV{CUDA_INCLUDE}" ${wheel_cuda} "$ENV{CUDA_HOME}/include" "${nvcc_folder}/include" /usr/local/cuda/include)
    if(EXISTS "${folder}/cuda_runtime_api.h")
      target_include_directories(fltac_torch SYSTEM INTERFACE "${folder}")
    endif()
  endforeach()
endif()

# --- where the built files look for libtorch. The run path is written as DT_RPATH, which goes before LD_LIBRARY_PATH: a
# different libtorch on that path would break the ABI this build was made for.
set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)
set(own_torch "${PROJECT_SOURCE_DIR}/.libtorch")
string(FIND "${torch_lib}/" "${own_torch}/" own_at)
if(own_at EQUAL 0 AND UNIX)
  # build/Release and build/native-tests lie at the same depth; relative, so that the folder can be moved as a whole.
  file(RELATIVE_PATH torch_relative "${PROJECT_SOURCE_DIR}/build/Release" "${torch_lib}")
  if(APPLE)
    set(CMAKE_INSTALL_RPATH "@loader_path/${torch_relative}")
  else()
    set(CMAKE_INSTALL_RPATH "$ORIGIN/${torch_relative}")
  endif()
else()
  set(CMAKE_INSTALL_RPATH "${torch_lib}")
endif()
if(NOT APPLE)
  target_link_options(fltac_torch INTERFACE "-Wl,--disable-new-dtags")
endif()
