# cmake -DIN=header -DOUT=copy -DFROM=text -DTO=text -P altered.cmake: a copy that differs in one place. Stops unless FROM stands in it exactly once.
file(READ "${IN}" _text)
string(FIND "${_text}" "${FROM}" _first)
string(FIND "${_text}" "${FROM}" _last REVERSE)
if(_first EQUAL -1 OR NOT _first EQUAL _last)
  message(FATAL_ERROR "${IN}: '${FROM}' does not stand there once")
endif()
string(REPLACE "${FROM}" "${TO}" _text "${_text}")
file(WRITE "${OUT}" "${_text}")
