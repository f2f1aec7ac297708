# cmake -DPROGRAM=path -DSTATUS=regex [-DMATCH=regex] [-DARGUMENTS="…;…"] -P expect.cmake: runs it; fails unless it ends with such a status and says what matches.
execute_process(COMMAND "${PROGRAM}" ${ARGUMENTS} RESULT_VARIABLE _status OUTPUT_VARIABLE _out ERROR_VARIABLE _err)
message("${_out}${_err}")
if(NOT _status MATCHES "^(${STATUS})$")
  message(FATAL_ERROR "${PROGRAM} ended with ${_status}, not ${STATUS}")
endif()
if(MATCH AND NOT "${_out}${_err}" MATCHES "${MATCH}")
  message(FATAL_ERROR "${PROGRAM} did not say ${MATCH}")
endif()
