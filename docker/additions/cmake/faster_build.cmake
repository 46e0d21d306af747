# Included at the start of Caffe's own CMake project (CMAKE_PROJECT_INCLUDE). It makes compiling faster, and keeps the path of
# the checkout out of command lines, so that all checkouts on one machine share a work tree.
function(faster_build)
  # Nearly every file includes these headers, and they take longer to compile than its own code: compile them once.
  target_precompile_headers(caffe PRIVATE <caffe/layer.hpp> <caffe/util/math_functions.hpp>)
  target_precompile_headers(test.testbin PRIVATE <gtest/gtest.h> <caffe/layer.hpp> <caffe/test/test_caffe_main.hpp>)
  target_precompile_headers(pycaffe REUSE_FROM caffe)
  target_compile_options(pycaffe ${Caffe_COMPILE_OPTIONS})  # the precompiled header needs equal options
  get_property(tools DIRECTORY tools PROPERTY BUILDSYSTEM_TARGETS)
  list(REMOVE_ITEM tools caffe.bin)
  target_precompile_headers(caffe.bin PRIVATE <caffe/caffe.hpp>)
  foreach(tool ${tools})
    target_precompile_headers(${tool} REUSE_FROM caffe.bin)
  endforeach()

  # Do not optimise generated code and code that runs only once for a net or a batch: this saves compile time.
  if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
    foreach(target ${tools} caffe.bin pycaffe caffeproto)
      target_compile_options(${target} PRIVATE -O1)
    endforeach()
    file(GLOB cold RELATIVE "${CMAKE_SOURCE_DIR}/src/caffe" "${CMAKE_SOURCE_DIR}/src/caffe/*.cpp"
      "${CMAKE_SOURCE_DIR}/src/caffe/solvers/*.cpp" "${CMAKE_SOURCE_DIR}/src/caffe/layers/*_data_layer.cpp")
    list(REMOVE_ITEM cold blob.cpp data_transformer.cpp)
    foreach(file ${cold} layers/lstm_layer.cpp layers/recurrent_layer.cpp layers/rnn_layer.cpp util/blocking_queue.cpp
        util/db_lmdb.cpp util/hdf5.cpp util/insert_splits.cpp util/signal_handler.cpp util/upgrade_proto.cpp)
      set_property(SOURCE "${CMAKE_SOURCE_DIR}/src/caffe/${file}" TARGET_DIRECTORY caffe PROPERTY COMPILE_OPTIONS -O1)
    endforeach()
  endif()

  # Compile upstream's layers, which do not change, eight at a time, since their common headers take most of the time. Ours are
  # compiled one by one, so that an edit recompiles only one file.
  get_target_property(alone caffe SOURCES)
  file(GLOB layers "${CMAKE_SOURCE_DIR}/src/caffe/layers/*.cpp")
  list(REMOVE_ITEM alone ${layers})
  set_property(SOURCE ${alone} TARGET_DIRECTORY caffe PROPERTY SKIP_UNITY_BUILD_INCLUSION ON)
  set_target_properties(caffe PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)

  # A debug build keeps the usual file names, which pycaffe and .venv expect.
  set_target_properties(caffe caffeproto pycaffe caffe.bin ${tools} test.testbin PROPERTIES DEBUG_POSTFIX "")

  # NumPy's headers, copied beside the source tree by build_caffe.py.
  foreach(target caffe pycaffe)
    get_target_property(folders ${target} INCLUDE_DIRECTORIES)
    string(REPLACE "${NUMPY_INCLUDE_DIR}" "${CMAKE_SOURCE_DIR}/../numpy" folders "${folders}")
    set_target_properties(${target} PROPERTIES INCLUDE_DIRECTORIES "${folders}")
  endforeach()
endfunction()

cmake_language(DEFER DIRECTORY "${CMAKE_SOURCE_DIR}" CALL faster_build)
