# Sets FLTAC_NODE_INCLUDES: the folders of node_api.h and napi.h. cmake-js passes them as CMAKE_JS_INC; without it they
# are asked of the packages in node_modules. Nothing is downloaded.
if(CMAKE_JS_INC)
  set(FLTAC_NODE_INCLUDES ${CMAKE_JS_INC})
  return()
endif()

find_program(FLTAC_NODE node)
if(NOT FLTAC_NODE)
  message(FATAL_ERROR "fltac: no `node` on PATH; it is needed to find the headers of node-addon-api")
endif()

set(FLTAC_NODE_INCLUDES "")
foreach(expression "require('node-api-headers').include_dir" "require('path').resolve(require('node-addon-api').include_dir)")
  execute_process(
    COMMAND "${FLTAC_NODE}" -p "${expression}"
    WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}"
    RESULT_VARIABLE status
    OUTPUT_VARIABLE folder
    ERROR_VARIABLE why
    OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "fltac: `node -p ${expression}` failed: run `npm ci` first\n${why}")
  endif()
  list(APPEND FLTAC_NODE_INCLUDES "${folder}")
endforeach()
