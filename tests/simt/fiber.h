// A fiber: a stack and a place to go on. Switching costs some 20 ns; nothing is synchronised by it, not even for the race check.
//
//   fiber.Make(entry);          // entry never returns: it switches away
//   Fiber::SwitchTo(fiber);     // …and comes back when somebody switches to this one
#ifndef COUNTERMARK_TESTS_SIMT_FIBER_H_
#define COUNTERMARK_TESTS_SIMT_FIBER_H_

#include <boost/context/detail/fcontext.hpp>

#include <cstddef>

namespace countermark::simt {

class Fiber {
 public:
  Fiber() = default;
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void Make(void (*entry)());  // a new stack, or its old one anew: whatever ran on it is dropped
  void AdoptCaller();          // stands for the calling thread's own stack
  static void SwitchTo(Fiber& to);
  static Fiber& Current();
  void ReleaseFor(void* at);   // for the race check: publishes what this fiber, which does not run, has done

 private:
  static void Start(boost::context::detail::transfer_t transfer);
  static void Arrive(boost::context::detail::transfer_t transfer);

  boost::context::detail::fcontext_t context_ = nullptr;
  void (*entry_)() = nullptr;
  void* map_ = nullptr;             // a guard page, then the stack
  const void* bottom_ = nullptr;
  size_t size_ = 0;
  [[maybe_unused]] void* fake_stack_ = nullptr;  // ASan's
  [[maybe_unused]] void* tsan_ = nullptr;
};

}  // namespace countermark::simt

#endif  // COUNTERMARK_TESTS_SIMT_FIBER_H_
