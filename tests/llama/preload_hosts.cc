// Stand-ins for what a preload library may find itself in, one after another by HOST:
//   1  libllama of another version             2  a program that samples through a shared libllama      3  a server with llama.cpp linked in
//   4  a second library that takes llama_sampler_init_dist for itself
#include <cstdint>
#include <cstdio>

#if HOST == 1
extern "C" {
const char* llama_version() { return "0.4.9"; }
void* llama_sampler_init_dist(uint32_t) { return nullptr; }
}
#elif HOST == 2
extern "C" void* llama_sampler_init_dist(uint32_t seed);
int main() {
  std::puts("serving");
  return llama_sampler_init_dist(1) != nullptr;
}
#elif HOST == 3
static void* llama_sampler_init_dist(uint32_t) { return nullptr; }
int main(int argc, char**) {
  std::puts("serving dry_sequence_breakers");
  return llama_sampler_init_dist(static_cast<uint32_t>(argc)) != nullptr;
}
#elif HOST == 4
extern "C" void* llama_sampler_init_dist(uint32_t) { return nullptr; }
#endif
