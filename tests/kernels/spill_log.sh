#!/bin/sh
# spill_log.sh COMPILER ARGUMENT...: runs the compiler, and keeps what ptxas -v says of each kernel (registers, stack, spills) in OBJECT.ptxas, beside
# the object that -o names. All else that the compiler says goes where it would have gone. CMake puts it before nvcc (CUDA_COMPILER_LAUNCHER).
object= previous=
for argument in "$@"; do
  [ "$previous" != -o ] || object=$argument
  previous=$argument
done
[ -n "$object" ] || exec "$@"
"$@" 2> "$object.ptxas.part"
status=$?
grep -v -E '^ptxas info|^ +[0-9]+ bytes stack frame|^ +[0-9]+ bytes spill' "$object.ptxas.part" >&2
if [ "$status" = 0 ]; then mv "$object.ptxas.part" "$object.ptxas"; else rm -f "$object.ptxas.part"; fi
exit "$status"
