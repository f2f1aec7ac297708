#include "src/llama/preload_program.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string_view>

namespace countermark {
namespace {

// A name that every llama.cpp server has among its constants, whatever of its symbols was stripped.
constexpr std::string_view kServersWord = "dry_sequence_breakers";

struct Search {
  const char* function;
  uintptr_t ours;      // an address in our own library, which is left out
  bool imported = false;
  bool word_found = false;
};

bool Holds(const dl_phdr_info& module, uintptr_t address) {
  for (int i = 0; i < module.dlpi_phnum; ++i) {
    const ElfW(Phdr)& header = module.dlpi_phdr[i];
    const uintptr_t begin = module.dlpi_addr + header.p_vaddr;
    if (header.p_type == PT_LOAD && address >= begin && address - begin < header.p_memsz) return true;
  }
  return false;
}

// Whether the module has a relocation against an undefined symbol of that name: then its calls go where the dynamic linker says.
bool Imports(const dl_phdr_info& module, const ElfW(Dyn)* dynamic, const char* function) {
  const auto address = [&](ElfW(Addr) value) { return value < module.dlpi_addr ? value + module.dlpi_addr : value; };
  uintptr_t symbols = 0, names = 0;
  std::array<uintptr_t, 2> tables = {};
  std::array<size_t, 2> sizes = {};
  for (; dynamic->d_tag != DT_NULL; ++dynamic) {
    switch (dynamic->d_tag) {
      case DT_SYMTAB: symbols = address(dynamic->d_un.d_ptr); break;
      case DT_STRTAB: names = address(dynamic->d_un.d_ptr); break;
      case DT_JMPREL: tables[0] = address(dynamic->d_un.d_ptr); break;
      case DT_PLTRELSZ: sizes[0] = dynamic->d_un.d_val; break;
      case DT_RELA: tables[1] = address(dynamic->d_un.d_ptr); break;
      case DT_RELASZ: sizes[1] = dynamic->d_un.d_val; break;
      default: break;
    }
  }
  if (symbols == 0 || names == 0) return false;
  for (size_t t = 0; t < tables.size(); ++t) {
    const auto* entry = reinterpret_cast<const ElfW(Rela)*>(tables[t]);
    for (size_t i = 0; tables[t] != 0 && i < sizes[t] / sizeof *entry; ++i) {
      const size_t index = ELF64_R_SYM(entry[i].r_info);
      if (index == 0) continue;
      const ElfW(Sym)& symbol = reinterpret_cast<const ElfW(Sym)*>(symbols)[index];
      if (symbol.st_shndx == SHN_UNDEF && std::strcmp(reinterpret_cast<const char*>(names) + symbol.st_name, function) == 0) return true;
    }
  }
  return false;
}

int Look(dl_phdr_info* module, size_t, void* data) {
  Search& search = *static_cast<Search*>(data);
  if (Holds(*module, search.ours) || (module->dlpi_name != nullptr && std::strstr(module->dlpi_name, "vdso") != nullptr)) return 0;
  for (int i = 0; i < module->dlpi_phnum; ++i) {
    const ElfW(Phdr)& header = module->dlpi_phdr[i];
    const auto* begin = reinterpret_cast<const void*>(module->dlpi_addr + header.p_vaddr);
    if (header.p_type == PT_DYNAMIC) {
      search.imported = search.imported || Imports(*module, static_cast<const ElfW(Dyn)*>(begin), search.function);
    } else if (header.p_type == PT_LOAD && (header.p_flags & PF_R) != 0 && (header.p_flags & PF_W) == 0) {
      search.word_found = search.word_found || memmem(begin, header.p_filesz, kServersWord.data(), kServersWord.size()) != nullptr;
    }
  }
  return 0;
}

bool IsNamedLlamaServer() {
  std::array<char, 4096> path;
  const ssize_t size = readlink("/proc/self/exe", path.data(), path.size());
  if (size <= 0) return false;
  const std::string_view name(path.data(), static_cast<size_t>(size));
  return name.substr(name.rfind('/') + 1).find("llama-server") != std::string_view::npos;
}

}  // namespace

Program LookAtProgram(const char* function, const void* ours) {
  Search search{function, reinterpret_cast<uintptr_t>(ours)};
  dl_iterate_phdr(Look, &search);
  const std::string name(function);
  if (!search.imported) {
    if (!search.word_found && !IsNamedLlamaServer()) return {};
    return {Program::kUnreachable, "this program does not call " + name + " of a shared libllama, so its sampling cannot be marked; a static build is refused: build llama.cpp with shared libraries"};
  }
  Dl_info self{}, first{};
  const void* const reached = dlsym(RTLD_DEFAULT, function);
  if (reached == nullptr || dladdr(ours, &self) == 0 || dladdr(reached, &first) == 0 || first.dli_fbase != self.dli_fbase) {
    return {Program::kUnreachable, "the program or another preloaded library defines " + name + " before this one; name this library first in LD_PRELOAD, and no second one"};
  }
  Dl_info next{};
  const void* const real = dlsym(RTLD_NEXT, function);
  if (real == nullptr) return {Program::kUnreachable, "no library defines " + name};
  if (dladdr(real, &next) == 0 || next.dli_fname == nullptr || std::strstr(next.dli_fname, "libllama") == nullptr) {
    return {Program::kUnreachable, "a second preloaded library defines " + name + "; one at a time"};
  }
  return {Program::kHost, ""};
}

}  // namespace countermark
