// The program that a preload library finds itself in: whether its calls can be interposed.
//
//   const Program program = LookAtProgram("llama_sampler_init_dist", &something_of_ours);
//   if (program.kind == Program::kOther) …   // a shell or another program that was started with the same environment
#ifndef COUNTERMARK_SRC_LLAMA_PRELOAD_PROGRAM_H_
#define COUNTERMARK_SRC_LLAMA_PRELOAD_PROGRAM_H_

#include <string>

namespace countermark {

struct Program {
  enum Kind {
    kOther,      // has nothing to do with llama.cpp
    kHost,       // calls `function` of a shared library, and the call reaches ours
    kUnreachable  // samples, and its calls do not reach us: `why` is a line for its operator
  };
  Kind kind = kOther;
  std::string why;
};

// Reads the dynamic sections of what is loaded; no file is opened. `ours` is any address in the library that asks, which defines
// `function`.
Program LookAtProgram(const char* function, const void* ours);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_LLAMA_PRELOAD_PROGRAM_H_
