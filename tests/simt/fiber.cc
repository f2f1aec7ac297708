#include "tests/simt/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "tests/simt/sanitizers.h"

namespace countermark::simt {
namespace {

#if defined(COUNTERMARK_SIMT_ASAN) || defined(COUNTERMARK_SIMT_TSAN)
constexpr size_t kStackBytes = 256 * 1024;  // red zones make frames large
#else
constexpr size_t kStackBytes = 64 * 1024;
#endif

Fiber* current = nullptr;

}  // namespace

Fiber::~Fiber() {
  if (map_ == nullptr) return;
#if defined(COUNTERMARK_SIMT_TSAN)
  if (tsan_ != nullptr) __tsan_destroy_fiber(tsan_);
#endif
  Unpoison(bottom_, size_);
  munmap(map_, kStackBytes + static_cast<size_t>(sysconf(_SC_PAGESIZE)));
}

void Fiber::Make(void (*entry)()) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  if (map_ == nullptr) {
    map_ = mmap(nullptr, kStackBytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map_ == MAP_FAILED || mprotect(map_, page, PROT_NONE) != 0) {
      std::perror("countermark simt: a fiber's stack");
      std::abort();
    }
    bottom_ = static_cast<char*>(map_) + page;
    size_ = kStackBytes;
  }
  Unpoison(bottom_, size_);
  entry_ = entry;
  fake_stack_ = nullptr;
  context_ = boost::context::detail::make_fcontext(static_cast<char*>(map_) + page + kStackBytes, kStackBytes, &Fiber::Start);
#if defined(COUNTERMARK_SIMT_TSAN)
  if (tsan_ != nullptr) __tsan_destroy_fiber(tsan_);
  tsan_ = __tsan_create_fiber(0);
#endif
}

void Fiber::AdoptCaller() {
#if defined(COUNTERMARK_SIMT_TSAN)
  tsan_ = __tsan_get_current_fiber();
#endif
  current = this;
}

Fiber& Fiber::Current() { return *current; }

void Fiber::ReleaseFor([[maybe_unused]] void* at) {
#if defined(COUNTERMARK_SIMT_TSAN)
  __tsan_switch_to_fiber(tsan_, __tsan_switch_to_fiber_no_sync);  // in name only
  Release(at);
  __tsan_switch_to_fiber(current->tsan_, __tsan_switch_to_fiber_no_sync);
#endif
}

void Fiber::SwitchTo(Fiber& to) {
  Fiber* const from = current;
  current = &to;
#if defined(COUNTERMARK_SIMT_ASAN)
  __sanitizer_start_switch_fiber(&from->fake_stack_, to.bottom_, to.size_);
#elif defined(COUNTERMARK_SIMT_TSAN)
  __tsan_switch_to_fiber(to.tsan_, __tsan_switch_to_fiber_no_sync);
#endif
  Arrive(boost::context::detail::jump_fcontext(to.context_, from));
}

// On the new stack: note where the other one stopped.
void Fiber::Arrive(boost::context::detail::transfer_t transfer) {
  auto* from = static_cast<Fiber*>(transfer.data);
  from->context_ = transfer.fctx;
#if defined(COUNTERMARK_SIMT_ASAN)
  __sanitizer_finish_switch_fiber(current->fake_stack_, &from->bottom_, &from->size_);  // the caller's own stack is learnt here
#endif
}

void Fiber::Start(boost::context::detail::transfer_t transfer) {
  Arrive(transfer);
  current->entry_();
  std::abort();  // an entry does not return
}

}  // namespace countermark::simt
