# Replaces upstream's file of this name, whose FindCUDA does not support CUDA 12, CUDA 13 or GPUs after Pascal. Here CMake's
# own CUDA language compiles the .cu files. Upstream's CMakeLists call the two macros.
if(CPU_ONLY)
  return()
endif()

enable_language(CUDA)
find_package(CUDAToolkit 12 REQUIRED)
set(HAVE_CUDA TRUE)
message(STATUS "CUDA ${CUDAToolkit_VERSION} for ${CMAKE_CUDA_ARCHITECTURES}")
list(APPEND Caffe_INCLUDE_DIRS PUBLIC ${CUDAToolkit_INCLUDE_DIRS})
list(APPEND Caffe_LINKER_LIBS PUBLIC CUDA::cudart CUDA::curand CUDA::cublas)

if(USE_CUDNN)
  find_path(CUDNN_INCLUDE cudnn.h HINTS ${CUDNN_ROOT}/include ${CUDAToolkit_INCLUDE_DIRS} REQUIRED)
  find_library(CUDNN_LIBRARY cudnn HINTS ${CUDNN_ROOT}/lib ${CUDAToolkit_LIBRARY_DIR} REQUIRED)
  set(HAVE_CUDNN TRUE)
  list(APPEND Caffe_DEFINITIONS PUBLIC -DUSE_CUDNN)
  list(APPEND Caffe_INCLUDE_DIRS PUBLIC ${CUDNN_INCLUDE})
  list(APPEND Caffe_LINKER_LIBS PUBLIC ${CUDNN_LIBRARY})
endif()

macro(cuda_include_directories)
  include_directories(SYSTEM ${ARGN})
endmacro()

# The caller also lists the .cu files among its sources.
macro(caffe_cuda_compile objects)
  set(${objects})
endmacro()
